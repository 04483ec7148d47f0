"""Databases as sources and results: ``postgresql://HOST/DATABASE#TABLE``, ``sqlite:///FILE#TABLE``,
``duckdb:///FILE#TABLE``, any other that SQLAlchemy has a driver for, or ``env:NAME#TABLE`` where the environment has
the address. What is read is written down as Parquet batch by batch; what is written is one transaction.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl
import sqlalchemy as sa

from headrace.batch.writing import JOB
from headrace.data.sources import FROM_ENVIRONMENT, database_url
from headrace.kernel.database import shown
from headrace.kernel.errors import Conflict, HeadraceError, InvalidInput, MissingExtra, StorageUnavailable

DUCKDB = "duckdb:///"
BATCH = 50_000


class Select(NamedTuple):
    """Which rows to read: those of a table, or of a query; with `after` (a column, a value or None, another value)
    those whose column is above the one and up to the other."""

    table: str = ""
    sql: str = ""
    after: tuple[str, Any, Any] | None = None


class Database(Protocol):
    """A database in which rows can be read and written."""

    def read(self, rows: Select, place: Path) -> None:
        """Write rows to a Parquet file."""
        ...

    def newest(self, rows: Select, column: str) -> Any:
        """The largest value of a column of some rows; None where there is none."""
        ...

    def check(self, table: str, *, append: bool, overwrite: bool) -> None:
        """See that a table can be written.

        Raises:
            Conflict: it exists, and is neither to be added to nor overwritten.
        """
        ...

    def wrote(self, table: str, job: str) -> bool:
        """Whether rows of a job are in a table."""
        ...

    def write(self, table: str, frames: Iterable[pl.DataFrame], *, append: bool, overwrite: bool) -> None:
        """Write frames of the same columns to a table, all of them or none."""
        ...

    def first(self, table: str, job: str, rows: int) -> pl.DataFrame:
        """Some rows that a job wrote."""
        ...


def is_database(place: str) -> bool:
    """Whether a source or destination is in a database."""
    if place.startswith((FROM_ENVIRONMENT, DUCKDB)):
        return True
    try:
        sa.make_url(place.partition("#")[0]).get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError):
        return False
    return True


def split_table(place: str) -> tuple[str, str]:
    """The address of a database, and the table in it."""
    address, _, table = place.partition("#")
    return address, table


def need_no_password(place: str) -> None:
    """See that an address can be kept and shown.

    Raises:
        InvalidInput: a password stands in it.
    """
    if place.startswith((FROM_ENVIRONMENT, DUCKDB)):
        return
    if sa.make_url(split_table(place)[0]).password:
        raise InvalidInput(
            "A password stands in the address of a database, and addresses of jobs are kept and shown.",
            expected="an address without one, or env:NAME#TABLE with the address in the environment's NAME",
            todo="Put the address, or the password alone (PGPASSWORD, ~/.pgpass), into the environment.",
        )


def open_database(address: str, variables: Mapping[str, str]) -> Database:
    """The database at an address.

    Raises:
        InvalidInput: it is no address.
        MissingExtra: its driver is not installed.
    """
    named = address.removeprefix(FROM_ENVIRONMENT)
    actual = variables.get(named, "") if address.startswith(FROM_ENVIRONMENT) else address
    if actual.startswith(DUCKDB):
        return DuckDatabase(actual.removeprefix(DUCKDB))
    url = database_url(address, variables)
    try:
        return SqlDatabase(sa.create_engine(url, poolclass=sa.NullPool), shown(url))
    except ImportError as error:
        raise MissingExtra(
            f"The driver of {shown(url)} is not installed: {error}.", todo="Install it with pip."
        ) from error


class SqlDatabase:
    """A database that SQLAlchemy speaks to. See `Database`."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    def read(self, rows: Select, place: Path) -> None:
        """See `Database`; batches lie beside the file until all are there."""
        query, values = self._query(rows)
        parts = place.with_name(f"{place.name}.parts")
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir(parents=True)
        with self._told("read"), self._engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, yield_per=BATCH)
            batches = pl.read_database(
                query,
                streaming,
                iter_batches=True,
                batch_size=BATCH,
                infer_schema_length=None,
                execute_options={"parameters": values} if values else None,
            )
            paths = []
            for number, batch in enumerate(batches):
                paths.append(parts / f"{number:06d}.arrow")
                batch.write_ipc(paths[-1])
            if not paths:
                raise _no_rows(self._name)
            frames = [pl.scan_ipc(path, glob=False) for path in paths]
            pl.concat(frames, how="diagonal_relaxed").sink_parquet(place, maintain_order=True)
        shutil.rmtree(parts)

    def _query(self, rows: Select) -> tuple[sa.TextClause, dict[str, Any]]:
        if rows.after is None:
            return _as_it_stands(self._plain(rows)), {}
        column = self._column(rows.after[0])
        wrapped = _escaped(f"SELECT * FROM ({self._plain(rows)}) AS new_rows WHERE ")
        named = _escaped(column)
        _, low, high = rows.after
        above = f"{named} > :low AND " if low is not None else ""
        values = {"high": high, **({"low": low} if low is not None else {})}
        return sa.text(f"{wrapped}{above}{named} <= :high ORDER BY {named}"), values

    def _plain(self, rows: Select) -> str:
        return rows.sql.strip().rstrip(";") or f"SELECT * FROM {self._quoted(rows.table)}"

    def newest(self, rows: Select, column: str) -> Any:
        """See `Database`."""
        largest = f"SELECT MAX({self._column(column)}) FROM ({self._plain(rows)}) AS all_rows"
        none = f"SELECT * FROM ({self._plain(rows)}) AS all_rows WHERE 1 = 0"
        with self._told("read"), self._engine.connect() as connection:
            names = list(connection.execute(_as_it_stands(none)).keys())
            if column not in names:  # SQLite would take the name for a text
                raise InvalidInput(
                    f"The rows have no column {column!r}.",
                    field="new",
                    expected=f"one of {', '.join(names)}",
                    todo="Name one of them.",
                )
            return connection.execute(_as_it_stands(largest)).scalar()

    def check(self, table: str, *, append: bool, overwrite: bool) -> None:
        """See `Database`."""
        with self._told("used"), self._engine.connect() as connection:
            if self._has(connection, table) and not append and not overwrite:
                raise table_exists(self._name, table)

    def wrote(self, table: str, job: str) -> bool:
        """See `Database`."""
        with self._told("used"), self._engine.connect() as connection:
            if not self._has(connection, table) or JOB not in self._columns(connection, table):
                return False
            query = sa.text(f"SELECT 1 FROM {self._quoted(table)} WHERE job = :job LIMIT 1")
            return connection.execute(query, {"job": job}).first() is not None

    def write(self, table: str, frames: Iterable[pl.DataFrame], *, append: bool, overwrite: bool) -> None:
        """See `Database`."""
        with self._told("written"), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":  # its driver would end a transaction at CREATE TABLE
                connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            there = self._has(connection, table)
            if there and overwrite:
                connection.exec_driver_sql(f"DROP TABLE {self._quoted(table)}")
            elif there and not append:
                raise table_exists(self._name, table)
            made = there and not overwrite
            for frame in frames:
                if not made:
                    self._make(connection, table, frame)
                    made = True
                self._insert(connection, table, frame)
            connection.commit()

    def first(self, table: str, job: str, rows: int) -> pl.DataFrame:
        """See `Database`."""
        with self._told("read"), self._engine.connect() as connection:
            query = sa.text(f"SELECT * FROM {self._quoted(table)} WHERE job = :job LIMIT {rows:d}")
            return pl.read_database(query, connection, execute_options={"parameters": {"job": job}})

    def _make(self, connection: sa.Connection, table: str, frame: pl.DataFrame) -> None:
        schema, name = _parts_of(table)
        columns = [sa.Column(column, _sql_type(kind)) for column, kind in frame.schema.items()]
        sa.Table(name, sa.MetaData(), *columns, schema=schema).create(connection)

    def _insert(self, connection: sa.Connection, table: str, frame: pl.DataFrame) -> None:
        names = ", ".join(map(self._column, frame.columns))
        if connection.dialect.name == "postgresql":
            written = io.BytesIO()
            frame.write_csv(written, include_header=False)
            cursor = connection.connection.cursor()
            with cursor.copy(f"COPY {self._quoted(table)} ({names}) FROM STDIN (FORMAT csv)") as copy:  # type: ignore[attr-defined]
                copy.write(written.getvalue())
            return
        places = [f"v{place}" for place in range(frame.width)]
        marks = ", ".join(f":{one}" for one in places)
        insert = sa.text(f"INSERT INTO {self._quoted(table)} ({names}) VALUES ({marks})")
        for some in frame.iter_slices(BATCH):
            connection.execute(insert, [dict(zip(places, row, strict=True)) for row in some.iter_rows()])

    def _has(self, connection: sa.Connection, table: str) -> bool:
        schema, name = _parts_of(table)
        return sa.inspect(connection).has_table(name, schema=schema)

    def _columns(self, connection: sa.Connection, table: str) -> list[str]:
        schema, name = _parts_of(table)
        return [str(one["name"]) for one in sa.inspect(connection).get_columns(name, schema=schema)]

    def _quoted(self, table: str) -> str:
        return ".".join(map(self._column, table.split(".")))

    def _column(self, name: str) -> str:
        return self._engine.dialect.identifier_preparer.quote_identifier(name)

    @contextlib.contextmanager
    def _told(self, what: str) -> Generator[None]:
        try:
            yield
        except HeadraceError:
            raise
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            if error.statement is None:
                raise StorageUnavailable(
                    f"The database {self._name} cannot be reached: {error.orig}.",
                    todo="See that it runs and that the address is right.",
                ) from error
            raise refused(self._name, what, error) from error
        except Exception as error:  # drivers' errors have no root but this
            raise refused(self._name, what, error) from error


def _escaped(text: str) -> str:
    """A text in which a colon marks no value."""
    return text.replace(":", "\\:")


def _as_it_stands(text: str) -> sa.TextClause:
    return sa.text(_escaped(text))


class DuckDatabase:
    """A file of DuckDB. See `Database`."""

    def __init__(self, file: str) -> None:
        self._file = file

    def read(self, rows: Select, place: Path) -> None:
        """See `Database`."""
        text = rows.sql.strip().rstrip(";") or f"SELECT * FROM {_quoted(rows.table)}"
        values: list[Any] = []
        if rows.after is not None:
            column = _quoted_column(rows.after[0])
            _, low, high = rows.after
            above = f"{column} > ? AND " if low is not None else ""
            text = f"SELECT * FROM ({text}) AS new_rows WHERE {above}{column} <= ? ORDER BY {column}"
            values = [high] if low is None else [low, high]
        with self._open("read", read_only=True) as connection:
            connection.sql(text, params=values or None).write_parquet(str(place))

    def newest(self, rows: Select, column: str) -> Any:
        """See `Database`."""
        text = rows.sql.strip().rstrip(";") or f"SELECT * FROM {_quoted(rows.table)}"
        with self._open("read", read_only=True) as connection:
            largest = f"SELECT MAX({_quoted_column(column)}) FROM ({text}) AS all_rows"
            return connection.execute(largest).fetchone()[0]

    def check(self, table: str, *, append: bool, overwrite: bool) -> None:
        """See `Database`."""
        if not append and not overwrite and Path(self._file).exists():
            with self._open("used", read_only=True) as connection:
                if _duck_columns(connection, table):
                    raise table_exists(self._file, table)

    def wrote(self, table: str, job: str) -> bool:
        """See `Database`."""
        if not Path(self._file).exists():
            return False
        with self._open("used", read_only=True) as connection:
            if JOB not in _duck_columns(connection, table):
                return False
            found = connection.execute(f"SELECT 1 FROM {_quoted(table)} WHERE job = ? LIMIT 1", [job])
            return found.fetchone() is not None

    def write(self, table: str, frames: Iterable[pl.DataFrame], *, append: bool, overwrite: bool) -> None:
        """See `Database`; rows travel by a Parquet file beside the database."""
        travelling = Path(f"{self._file}.headrace.parquet")
        with self._open("written") as connection:
            connection.execute("BEGIN TRANSACTION")
            there = bool(_duck_columns(connection, table))
            if there and overwrite:
                connection.execute(f"DROP TABLE {_quoted(table)}")
            elif there and not append:
                raise table_exists(self._file, table)
            made = there and not overwrite
            try:
                for frame in frames:
                    frame.write_parquet(travelling)
                    verb = f"INSERT INTO {_quoted(table)} BY NAME" if made else f"CREATE TABLE {_quoted(table)} AS"
                    connection.execute(f"{verb} SELECT * FROM read_parquet(?)", [str(travelling)])
                    made = True
            finally:
                travelling.unlink(missing_ok=True)
            connection.execute("COMMIT")

    def first(self, table: str, job: str, rows: int) -> pl.DataFrame:
        """See `Database`."""
        with self._open("read", read_only=True) as connection:
            found = connection.execute(f"SELECT * FROM {_quoted(table)} WHERE job = ? LIMIT {rows:d}", [job])
            names = [one[0] for one in found.description]
            return pl.DataFrame(found.fetchall(), schema=names, orient="row")

    @contextlib.contextmanager
    def _open(self, what: str, *, read_only: bool = False) -> Generator[Any]:
        try:
            import duckdb
        except ImportError as error:
            raise MissingExtra("DuckDB is not installed.", todo="Install it: pip install duckdb.") from error
        connection = None
        try:
            connection = duckdb.connect(self._file, read_only=read_only)
            yield connection
        except duckdb.Error as error:
            raise refused(self._file, what, error) from error
        finally:
            if connection is not None:
                connection.close()


def _duck_columns(connection: Any, table: str) -> list[str]:
    schema, name = _parts_of(table)
    query = "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND schema_name = ?"
    return [row[0] for row in connection.execute(query, [name, schema or "main"]).fetchall()]


def _parts_of(table: str) -> tuple[str | None, str]:
    schema, _, name = table.rpartition(".")
    return schema or None, name


def _quoted(table: str) -> str:
    return ".".join(map(_quoted_column, table.split(".")))


def _quoted_column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql_type(kind: Any) -> Any:
    if kind.is_integer():
        return sa.BigInteger()
    if kind.is_float():
        return sa.Double()
    if kind == pl.Boolean:
        return sa.Boolean()
    if kind == pl.Date:
        return sa.Date()
    if kind == pl.Datetime:
        return sa.DateTime()
    return sa.Text()


def table_exists(database: str, table: str) -> Conflict:
    """A table is there that must not be overwritten."""
    return Conflict(
        f"The table {table} exists already in {database}.",
        field="destination",
        expected="a table that is free",
        todo="Name another one, or say --append or --overwrite.",
    )


def refused(database: str, what: str, error: Exception) -> InvalidInput:
    """A database refused what was asked of it."""
    said = str(getattr(error, "orig", error)).splitlines()[0]
    return InvalidInput(
        f"The rows could not be {what} in {database}: {said}.",
        expected="a query or a table that the database knows, with the columns that it is given",
        todo="Correct the query, or the name of the table.",
    )


def _no_rows(database: str) -> InvalidInput:
    return InvalidInput(f"The query gave no rows in {database}.", field="source", todo="Correct the query.")
