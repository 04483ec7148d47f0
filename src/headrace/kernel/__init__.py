"""The words of the product as values: records, schema, errors, digests, ports, and the database's shape.

Everything else imports this room and it imports none of them, so a reader can start here. What the hot
path needs (records, schema, routes, errors) loads the standard library and msgspec alone; the database
(`database`, `tables`, `migrations`) is in files of its own, which scoring never imports.
"""
