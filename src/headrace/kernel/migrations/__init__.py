"""The steps by which the database came to its shape, only ever forward.

A step only adds: tables, indexes, columns that may be empty or have a default of the database's. So the processes of
the release before go on working while one of this release has already changed the shape, and may even be started anew.
A step that takes away or changes what that release reads raises `OLDEST` to its own number: older releases then refuse
the workspace.
"""

NEWEST = "0012"
"""The last of the steps."""
OLDEST = "0009"
"""The first revision whose code may work on the shape that these steps make."""
