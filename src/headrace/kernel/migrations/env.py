"""Alembic's entry: migrations run on the connection that the caller opened, in its transaction."""

from alembic import context

from headrace.kernel.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
