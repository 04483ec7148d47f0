"""Where the answers of a job go: a file here, an object in storage, a Delta table, a table of a database.

Each puts them there once, whole, and over nothing that was not to be overwritten, however often it is killed at it.
"""
