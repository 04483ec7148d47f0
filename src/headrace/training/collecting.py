"""Freeing what nothing refers to: leftovers of killed processes, old files of runs, snapshots that no version needs.

Versions are never freed: a route, an alias or a certificate may refer to them. What goes is first moved to `trash/`,
under the writer's lock and with an entry in the audit log, and only then removed, so that whoever is killed on the way
leaves either everything in its place or something that the next call removes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.data.snapshots import Snapshots
from headrace.kernel import tables
from headrace.kernel.clock import Clock, to_text
from headrace.kernel.errors import NotTrusted, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places
from headrace.kernel.records import Freed

KEPT_OF_RUNS = {"asked.json", "schema.json"}
OLD = timedelta(days=30)
ABANDONED = timedelta(days=1)
"""How long a process may work on a draft in `staging/`."""


class Collector:
    """Finds and frees what nothing refers to in one workspace."""

    def __init__(self, places: Places, audit: AuditLog, snapshots: Snapshots, clock: Clock) -> None:
        self._places = places
        self._objects = places.objects
        self._audit = audit
        self._snapshots = snapshots
        self._clock = clock

    def plan(self, older: timedelta = OLD) -> list[Freed]:
        """What would be freed now.

        Args:
            older: how long ago a run must have ended, or a snapshot been taken, to count as old.
        """
        with self._audit.change() as change:
            return list(self._unreferenced(change.connection, self._clock(), older))

    def collect(self, who: str, older: timedelta = OLD) -> list[Freed]:
        """Free it, and say what was freed.

        Raises:
            StorageUnavailable: something cannot be moved or removed; what was freed until then is recorded.
        """
        trash = self._places.trash / new_id()
        try:
            with self._audit.change() as change:
                found = list(self._unreferenced(change.connection, self._clock(), older))
                later = [path for one in found for path in self._take(change, one, trash)]
                if found:
                    self._record(change, who, found)
            for path in later:
                self._objects.discard(path)
            if self._objects.remote:
                self._clear_cache()
            if self._places.trash.exists():
                shutil.rmtree(self._places.trash)
        except OSError as error:
            raise StorageUnavailable(
                f"{error.filename or trash} could not be freed: {error.strerror or error}.",
                todo="See that the folder may be written, then call 'headrace gc' again: it goes on where it stopped.",
            ) from error
        return found

    def _clear_cache(self) -> None:
        """Remove what processes that are gone left in the making here; nobody else sees it."""
        staging = self._places.staging
        for path in staging.iterdir() if staging.is_dir() else ():
            if self._clock().timestamp() - path.stat().st_mtime > ABANDONED.total_seconds():
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def _take(self, change: Recorded, one: Freed, trash: Path) -> list[Path]:
        """Move one thing to the trash; what the database still names is taken out there, and given to remove later."""
        paths = [self._places.root / name for name in one.paths]
        if one.kind == "snapshot":
            dataset, _, digest = one.name.partition(" ")
            self._snapshots.forget(change.connection, dataset, digest)
            return paths
        if self._objects.remote:
            return paths
        for path in paths:
            if path.exists():
                place = trash / new_id()
                place.mkdir(parents=True)
                path.rename(place / path.name)
        return []

    def _record(self, change: Recorded, who: str, found: list[Freed]) -> None:
        named = [f"{one.kind} {one.name}" for one in found[:200]]
        change.entry(who, "gc", "workspace", freed=named, count=len(found), bytes=sum(one.size for one in found))

    def _unreferenced(self, connection: sa.Connection, now: datetime, older: timedelta) -> Iterator[Freed]:
        before = to_text(now - older)
        yield from self._abandoned(now)
        yield from self._bundles(connection, now)
        yield from self._runs(connection, before)
        yield from self._jobs(connection, before)
        yield from self._code(connection, now, before)
        yield from self._old_snapshots(connection, before)
        yield from self._orphans(connection, now)

    def _abandoned(self, now: datetime) -> Iterator[Freed]:
        """Drafts that nobody works on any more."""
        for path in self._objects.children(self._places.staging):
            if now - self._objects.modified(path) > ABANDONED:
                yield self._freed("draft", path.name, "its process ended before it was finished", [path])
        for path in self._objects.children(self._places.code):
            if path.name.startswith("draft-") and now - self._objects.modified(path) > ABANDONED:
                yield self._freed("draft", path.name, "its process ended before it was finished", [path])

    def _bundles(self, connection: sa.Connection, now: datetime) -> Iterator[Freed]:
        """Bundles without a version. In a folder one that is being entered stands under the lock that is held here; to
        object storage it was uploaded before."""
        known = set(connection.execute(sa.select(tables.versions.c.digest)).scalars())
        for path in self._objects.children(self._places.bundles):
            if path.name.partition(".")[0] in known:
                continue
            if not self._objects.remote or now - self._objects.modified(path) > ABANDONED:
                yield self._freed("bundle", path.name[:16], "no version was entered for it", [path])

    def _jobs(self, connection: sa.Connection, before: str) -> Iterator[Freed]:
        """Working files, results kept here and uploads of jobs that ended long ago, and uploads that no job names."""
        at = tables.jobs.c
        kept: set[str] = set()
        for job in connection.execute(sa.select(at.id, at.source, at.destination, at.ended)):
            used = {
                job.destination.removeprefix("kept:").partition("/")[0],
                job.source.removeprefix("upload:").partition("/")[0],
            }
            if not job.ended or job.ended >= before:
                kept |= {job.id, *used}
        for folder, what in (
            (self._places.jobs, "job"),
            (self._places.results, "result"),
            (self._places.uploads, "upload"),
        ):
            for path in self._objects.children(folder):
                if path.name not in kept and to_text(self._objects.modified(path)) < before:
                    yield self._freed(what, path.name, "its job ended long ago, or there was none", [path])

    def _runs(self, connection: sa.Connection, before: str) -> Iterator[Freed]:
        """Working files of runs that ended long ago; what was asked and the schema stay."""
        at = tables.runs.c
        rows = connection.execute(sa.select(at.id).where(at.ended.is_not(None), at.ended < before))
        for run in rows.scalars():
            files = [path for path in self._objects.children(self._places.runs / run) if path.name not in KEPT_OF_RUNS]
            if files:
                yield self._freed("run", run, "it ended long ago; its records stay", files)

    def _code(self, connection: sa.Connection, now: datetime, before: str) -> Iterator[Freed]:
        at, held = tables.runs.c, set(connection.execute(sa.select(tables.holds.c.subject)).scalars())
        needed = (at.version.is_not(None)) | (at.ended.is_(None)) | (at.ended >= before)
        used = set(connection.execute(sa.select(at.code).where(needed).distinct()).scalars())
        used |= set(connection.execute(sa.select(tables.models.c.code)).scalars()) | held
        for path in self._objects.children(self._places.code):
            young = now - self._objects.modified(path) <= ABANDONED
            if not path.name.startswith("draft-") and path.name not in used and not young:
                yield self._freed("code", path.name[:16], "no version, model or late run has it", [path])

    def _old_snapshots(self, connection: sa.Connection, before: str) -> Iterator[Freed]:
        """Snapshots that no version, hold or unfinished run needs; a new one stays, and each dataset's last."""
        at, run = tables.snapshots.c, tables.runs.c
        needed = run.version.is_not(None) | run.ended.is_(None)
        used = set(connection.execute(sa.select(run.snapshot).where(needed).distinct()).scalars())
        used |= set(connection.execute(sa.select(tables.holds.c.subject)).scalars())
        if connection.execute(sa.select(run.id).where(run.ended.is_(None), run.snapshot == "").limit(1)).first():
            return  # a run that has just begun may be about to take an old one
        newest = sa.select(at.dataset, sa.func.max(at.created)).group_by(at.dataset)
        last = {tuple(row) for row in connection.execute(newest)}
        rows = connection.execute(sa.select(at.dataset, at.digest, at.created).order_by(at.created)).all()
        gone = [r for r in rows if r.digest not in used and r.created < before and (r.dataset, r.created) not in last]
        for row in gone:
            try:
                files = self._snapshots.only_files(connection, row.dataset, row.digest, {r.digest for r in gone})
            except NotTrusted:
                continue  # nobody can tell which files it shares; 'headrace workspace verify' says what is wrong
            why = f"of {row.created[:10]}; no version needs it"
            yield self._freed("snapshot", f"{row.dataset} {row.digest}", why, files)

    def _orphans(self, connection: sa.Connection, now: datetime) -> Iterator[Freed]:
        """Files of tables that no snapshot needs: their process ended while it wrote, or while it freed."""
        for path in self._snapshots.orphans(connection):
            if now - self._objects.modified(path) > ABANDONED:
                yield self._freed("file", path.name, "no snapshot needs it", [path])

    def _freed(self, kind: str, name: str, why: str, paths: list[Path]) -> Freed:
        size = sum(self._objects.size(path) for path in paths)
        names = tuple(path.relative_to(self._places.root).as_posix() for path in paths)
        return Freed(kind=kind, name=name, why=why, size=size, paths=names)
