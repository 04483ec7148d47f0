"""Opening the database: SQLite in a workspace folder (WAL, fully synchronous), or PostgreSQL.

Writers take one lock from their first moment, so that a change and its audit entry are one transaction and two
processes never interleave. A database of an earlier Headrace is migrated; one of a later is used where that allows it.
"""

from __future__ import annotations

import fcntl
import zlib
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.dialects import postgresql, sqlite

from headrace.kernel.errors import HeadraceError, StorageUnavailable, WorkspaceTooNew
from headrace.kernel.migrations import NEWEST, OLDEST
from headrace.kernel.tables import compatibility, metadata

BUSY_SECONDS = 30
WRITER_SECONDS = 300
"""How long a writer waits for another on PostgreSQL, who may be uploading a bundle meanwhile."""
WRITING = 0x48454144
"""The advisory lock of PostgreSQL that a writer holds (any number that other programs do not use)."""


class Database:
    """Transactions over one engine. `read` sees a consistent state; `write` commits whole or not at all."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._shared = engine.dialect.name == "postgresql"

    @contextmanager
    def read(self) -> Generator[sa.Connection, None, None]:
        """A connection for reading.

        Raises:
            StorageUnavailable: the database cannot be reached.
        """
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if self._shared else "BEGIN"
        with _translated(self._engine), self._engine.connect() as connection:
            connection.exec_driver_sql(begin)
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
        with self._transaction(_begin_writing) as connection:
            yield connection

    @contextmanager
    def beat(self) -> Generator[sa.Connection, None, None]:
        """A transaction that waits for no writer where the database knows locks of rows: a sign of life must not.

        Raises:
            StorageUnavailable: as `write`.
        """
        with self._transaction(_begin if self._shared else _begin_writing) as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: Callable[[sa.Connection], None]) -> Generator[sa.Connection, None, None]:
        with _translated(self._engine), self._engine.connect() as connection:
            begin(connection)
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def locked(self, path: Path) -> Generator[None, None, None]:
        """One process at a time within the block, of all that share the workspace; `path` names what is locked.

        A process that dies in it frees it.

        Raises:
            StorageUnavailable: the lock cannot be taken.
        """
        if self._shared:
            number = zlib.crc32(path.name.encode())
            with _translated(self._engine), self._engine.connect() as connection:
                connection.exec_driver_sql("SET lock_timeout = 0")
                connection.execute(sa.select(sa.func.pg_advisory_lock(WRITING, number - (1 << 31))))
                try:
                    yield
                finally:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(WRITING, number - (1 << 31))))
                    connection.exec_driver_sql("RESET lock_timeout")
            return
        with _lock_file(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _lock_file(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise StorageUnavailable(
            f"The lock {path} could not be taken: {error.strerror or error}.",
            todo="See that the disk has room and the folder may be written; nothing was changed.",
        ) from error


def add_if_absent(connection: sa.Connection, table: sa.Table, row: Mapping[str, Any]) -> bool:
    """Insert a row unless one of its key stands there; gives whether it was inserted."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return bool(connection.execute(insert(table).values(row).on_conflict_do_nothing()).rowcount)


def open_database(url: str) -> Database:
    """The database at `url` (``sqlite:///FILE`` or ``postgresql://...``), created or migrated as needed.

    Raises:
        WorkspaceTooNew: a later Headrace wrote it.
        StorageUnavailable: it cannot be opened or written.
    """
    at = sa.make_url(url)
    if at.get_backend_name() == "postgresql":
        arguments = {"connect_timeout": BUSY_SECONDS, "options": f"-c lock_timeout={WRITER_SECONDS}s"}
        at = at.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(at, connect_args=arguments, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    else:
        arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        engine = sa.create_engine(at, connect_args=arguments, isolation_level="AUTOCOMMIT")
        event.listen(engine, "connect", _configure)
    with _translated(engine):
        _migrate(engine)
    return Database(engine)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        _begin(connection)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITING)))
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _configure(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _migrate(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        current = _revision(connection)
        if current == NEWEST:
            return
        from alembic import command  # here, because most processes find the shape that they know
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            _need_compatible(connection, known, current)
            return
        _begin_writing(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(compatibility.delete())
        connection.execute(compatibility.insert().values(id=1, oldest=OLDEST))
        connection.commit()


def _revision(connection: sa.Connection) -> str | None:
    """The last step that a database had, as Alembic notes it."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _need_compatible(connection: sa.Connection, known: set[str], current: str) -> None:
    """See that this code may work on a shape that a later Headrace made.

    Raises:
        WorkspaceTooNew: it may not.
    """
    says = sa.inspect(connection).has_table(compatibility.name)
    oldest = connection.execute(sa.select(compatibility.c.oldest)).scalar() if says else None
    if oldest not in known:
        raise WorkspaceTooNew(
            f"The database {shown(connection.engine.url)} was written by a later Headrace (revision {current}).",
            expected=f"revision {max(known)}, or a later one that lets this Headrace go on",
            todo="Upgrade with 'pip install -U headrace', or open another workspace with --workspace.",
        )


def need_own_shape(connection: sa.Connection) -> None:
    """See that the database has the shape that this code knows, and nothing beyond it.

    Raises:
        WorkspaceTooNew: a later Headrace made it.
    """
    current = _revision(connection)
    if current != NEWEST:
        raise WorkspaceTooNew(
            f"The database {shown(connection.engine.url)} is one of a later Headrace (revision {current}).",
            expected="a workspace of which everything is known here, so that nothing is left behind",
            todo="Upgrade with 'pip install -U headrace', and copy then.",
        )


def shown(url: sa.URL) -> str:
    """A database's name as people may see it: a file, or an address without its password and options."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)


@contextmanager
def _translated(engine: sa.Engine) -> Generator[None, None, None]:
    try:
        yield
    except HeadraceError:
        raise
    except (exc.DBAPIError, exc.TimeoutError) as error:
        if isinstance(error, exc.IntegrityError):
            raise
        raise StorageUnavailable(
            f"The database {shown(engine.url)} could not be used: {str(getattr(error, 'orig', error)).strip()}.",
            todo="See that the server is reachable and its disk has room."
            if engine.dialect.name == "postgresql"
            else "See that the disk has room, that the folder may be written, and that no other program holds it.",
        ) from error


__all__ = ["Database", "add_if_absent", "metadata", "need_own_shape", "open_database", "shown"]
