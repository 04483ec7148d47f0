"""Running a bundle: verify it, load it, answer rows. The same code in every form that serves.

Only the standard library, msgspec, numpy and the kernel stand behind this room, so that a container or an
edge holds little; a reference runtime loads the library of its own model, when it loads the model.
"""
