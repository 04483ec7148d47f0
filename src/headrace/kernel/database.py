"""Opening the database: SQLite in a workspace folder, in WAL mode and fully synchronous.

Writers begin with an immediate lock, so that a change and its audit entry are one transaction and two
processes never interleave. A database of a later Headrace is refused, one of an earlier is migrated.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, exc

from headrace.kernel.errors import HeadraceError, StorageUnavailable, WorkspaceTooNew
from headrace.kernel.tables import metadata

BUSY_SECONDS = 30


class Database:
    """Transactions over one engine. `read` sees a consistent state; `write` commits whole or not at all."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """A connection for reading.

        Raises:
            StorageUnavailable: the database cannot be reached.
        """
        with _translated(self._engine), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextmanager
    def write(self) -> Generator[sa.Connection, None, None]:
        """A transaction that holds the writer's lock from its first moment.

        Raises:
            StorageUnavailable: the disk is full or read-only, or another writer did not finish in time.
        """
        with _translated(self._engine), self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def open_database(path: Path) -> Database:
    """The database at `path`, created or migrated as needed.

    Raises:
        WorkspaceTooNew: a later Headrace wrote it.
        StorageUnavailable: it cannot be opened or written.
    """
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        isolation_level="AUTOCOMMIT",
    )
    event.listen(engine, "connect", _configure)
    with _translated(engine):
        _migrate(engine, path)
    return Database(engine)


def _configure(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _migrate(engine: sa.Engine, path: Path) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        known = {script.revision for script in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise WorkspaceTooNew(
                f"The workspace at {path.parent} was written by a later Headrace (database revision {current}).",
                expected=f"revision {scripts.get_current_head()} or earlier",
                todo="Upgrade with 'pip install -U headrace', or open another workspace with --workspace.",
            )
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


@contextmanager
def _translated(engine: sa.Engine) -> Generator[None, None, None]:
    try:
        yield
    except HeadraceError:
        raise
    except (exc.OperationalError, exc.DatabaseError) as error:
        if isinstance(error, exc.IntegrityError):
            raise
        raise StorageUnavailable(
            f"The database {engine.url.database} could not be used: {error.orig}.",
            todo="See that the disk has room, that the folder may be written, and that no other program holds it.",
        ) from error


__all__ = ["Database", "metadata", "open_database"]
