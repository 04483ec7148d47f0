"""The history of the database's shape, forward only; run by `database.open_database`."""
