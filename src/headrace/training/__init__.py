"""From a project of plain functions to a version with its evidence, as a run that survives being killed.

The project's functions know nothing of Headrace. Each runs in a fresh process on the code as it was when the
run began; what a step made is kept, so that a run taken up by another worker does no finished step again.
"""
