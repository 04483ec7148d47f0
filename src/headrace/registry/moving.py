"""Moving a workspace between a folder and PostgreSQL with object storage: the rows, then the files, then verified.

The rows are read in one transaction and written in one; every file that they name was there before. Only the state of
durable runs stays behind, so no run may be under way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.database import Database, need_own_shape
from headrace.kernel.errors import Conflict, NotTrusted
from headrace.kernel.places import Places
from headrace.kernel.records import Copied

PAGE = 1_000
Progress = Callable[[int, int], None]
"""How many files are copied, and of how many."""
LOCAL = (tables.workers, tables.duties, tables.compatibility)
"""Who works now, and on which shape: nothing of another place."""


def move_workspace(
    source: tuple[Places, Database],
    target: tuple[Places, Database],
    check: Callable[[Places], list[str]],
    progress: Progress | None = None,
) -> Copied:
    """Copy all of a workspace into an empty one. What was copied before an interruption is copied again.

    Args:
        check: opens the copy, and gives what is wrong with it.

    Raises:
        Conflict: there is a workspace at the target, or a run is under way.
        WorkspaceTooNew: a later Headrace made the source.
        NotTrusted: the copy is not whole.
        StorageUnavailable: one of the two cannot be used; the source is untouched.
    """
    (here, database), (there, its) = source, target
    _need_nothing(there, its)
    with database.read() as connection:
        need_own_shape(connection)
        _need_rest(connection)
        files = here.objects.files()
        private = {here.audit_key: there.audit_key, here.signing_key: there.signing_key}
        secrets = {here.capture_key: there.capture_key, here.console_key: there.console_key}
        private |= {ours: theirs for ours, theirs in secrets.items() if ours.exists()}
        size = 0
        for number, path in enumerate(files, start=1):
            if path not in private:
                size += here.objects.copy(path, there.objects, there.root / path.relative_to(here.root))
            if progress is not None:
                progress(number, len(files))
        for ours, theirs in private.items():
            _copy_key(ours, theirs, there)
        with its.write() as writer:
            for table in tables.metadata.sorted_tables:
                if table not in LOCAL:
                    _copy_rows(connection, writer, table)
    problems = check(there)
    if problems:
        raise NotTrusted(
            f"The copy is not whole: {'; '.join(problems[:5])}.",
            todo="See that the source is whole ('headrace workspace verify'), empty the target, and copy again.",
        )
    return Copied(files=len(files), size=size, folder=there.name)


def _copy_key(ours: Path, theirs: Path, there: Places) -> None:
    """A private key lies among the files, unless the target's lie apart."""
    if there.keys is None:
        there.objects.put(theirs, ours.read_bytes(), private=True)
    elif not theirs.exists() or theirs.read_bytes() != ours.read_bytes():
        raise Conflict(
            f"{theirs} is not the key {ours.name} of this workspace.",
            expected="the same private keys in HEADRACE_KEYS",
            todo=f"Copy {ours} there, or unset HEADRACE_KEYS.",
        )


def _copy_rows(source: sa.Connection, target: sa.Connection, table: sa.Table) -> None:
    rows = source.execution_options(yield_per=PAGE).execute(sa.select(table))
    for page in rows.mappings().partitions(PAGE):
        target.execute(table.insert(), [dict(row) for row in page])


def _need_nothing(places: Places, database: Database) -> None:
    with database.read() as connection:
        entries = connection.execute(sa.select(sa.func.count()).select_from(tables.audit)).scalar_one()
    if entries:
        raise Conflict(
            f"There is a workspace in {places.name}: its audit log has {entries} entries.",
            expected="an empty database and an empty place for files",
            todo="Name another one.",
        )


def _need_rest(connection: sa.Connection) -> None:
    at = tables.runs.c
    running = connection.execute(sa.select(at.id).where(at.ended.is_(None)).limit(1)).scalar()
    if running is not None:
        raise Conflict(
            f"Run {running} is under way.",
            expected="a workspace at rest: the state of durable runs is not moved",
            todo="Wait until it has ended, then copy again.",
        )
