"""Versions and where they stand: bundles, certificates, aliases with their history, and the route document.

A version never changes. What changes is which version an alias names, and every such move says who made it,
when, why and on which evidence.
"""
