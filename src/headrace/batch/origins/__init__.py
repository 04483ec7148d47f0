"""Where the rows of a source lie: files here, objects in storage, Delta tables, databases.

Whatever is no file here is fetched as one before it is planned, so that everything after that is the same for all.
"""
