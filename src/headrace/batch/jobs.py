"""The record of jobs: what was asked, who works at it, how far it is; and whose turn it is.

A job is worked at by whoever claimed it and says so every second; when that one is gone another goes on. Workers take
turns at jobs, and the next turn goes to the one that had the least of them by its priority. A new one begins with as
little as the least that waits, so a small job need not wait for a large one, and a large one never starves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.batch.job import UNDER_WAY, Asked, Counts, Job, Options, Status
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.digests import digest_value
from headrace.kernel.errors import Conflict, Fault, NotFound, Overloaded
from headrace.kernel.hosts import is_gone, this_host
from headrace.kernel.identifiers import new_id

LEASE = timedelta(seconds=15)
MOST_ATTEMPTS = 5
"""How often a worker may end while it works at a job that does not get on."""
AT = tables.jobs.c
FREE: dict[str, Any] = {"host": "", "pid": 0, "beat": ""}
"""Of a job at which nobody works."""
NEW: dict[str, Any] = {
    **FREE,
    "status": "queued",
    "started": "",
    "ended": "",
    "scored": 0,
    "rejected": 0,
    "rows": 0,
    "chunks": 0,
    "chunks_done": 0,
    "digest": "",
    "result": "",
    "rejects": "",
    "error": None,
    "stopping": False,
    "attempts": 0,
}


class Jobs:
    """The jobs of a workspace.

    Args:
        teller: gives, before a change, what tells of a job within the change that ends it.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        clock: Clock,
        teller: Callable[[], Callable[[Job, sa.Connection], None]],
    ) -> None:
        self._teller = teller
        self._database = database
        self._audit = audit
        self._clock = clock

    def add(
        self, asked: Asked, who: str, most: int | None = None, also: Callable[[Any, str], None] | None = None
    ) -> Job:
        """Enter a job as queued.

        Args:
            also: is called with the connection and the job's id, and what it writes is written with the job or not.
            most: how many of the same caller may be under way.

        Raises:
            Overloaded: so many are.
        """
        job = new_id()
        row = {
            **NEW,
            "id": job,
            "model": asked.model,
            "version": asked.version,
            "bundle": asked.bundle,
            "source": asked.source,
            "destination": asked.destination,
            "options": msgspec.to_builtins(asked.options),
            "identity": identity(asked),
            "created_by": who,
            "created": to_text(self._clock()),
        }
        with self._audit.change() as change:
            _need_fewer(change.connection, who, most)
            least = sa.select(sa.func.min(AT.served)).where(AT.status.in_(UNDER_WAY))
            row["served"] = change.connection.execute(least).scalar() or 0.0
            change.connection.execute(tables.jobs.insert().values(row))
            if also is not None:
                also(change.connection, job)
            version = f"{asked.model}@{asked.version}"
            change.entry(who, "score", version, job=job, source=asked.source, destination=asked.destination)
        return self.get(job)

    def same(self, asked: Asked) -> Job | None:
        """The newest job that was asked for in the same words, but for those that were cancelled."""
        alike = (AT.identity == identity(asked)) & (AT.status != "cancelled")
        query = sa.select(tables.jobs).where(alike).order_by(AT.id.desc()).limit(1)
        return next(iter(self._load(query)), None)

    def get(self, job: str) -> Job:
        """The job with this id, or the one whose id begins or ends with it.

        Raises:
            NotFound: none, or several.
        """
        matching = AT.id.startswith(job, autoescape=True) | AT.id.endswith(job, autoescape=True)
        exactly = self._load(sa.select(tables.jobs).where(AT.id == job))
        found = exactly or self._load(sa.select(tables.jobs).where(matching).limit(2))
        if len(found) != 1:
            raise NotFound(
                f"{'No job' if not found else 'More than one job'} has the id {job!r}.",
                todo="List them: headrace jobs.",
            )
        return found[0]

    def asked(self, job: str) -> Asked:
        """What was asked of a job."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
        return Asked(
            model=row.model,
            version=row.version,
            bundle=row.bundle,
            source=row.source,
            destination=row.destination,
            options=msgspec.convert(row.options, Options),
        )

    def list(self, model: str | None = None, limit: int = 50) -> list[Job]:
        """The newest first."""
        query = sa.select(tables.jobs).order_by(AT.id.desc()).limit(limit)
        return self._load(query if model is None else query.where(AT.model == model))

    def before(self, job: Job) -> Job | None:
        """The newest job of the same schedule that was done before this one."""
        earlier = (AT.model == job.model) & (AT.id < job.id) & (AT.status == "done")
        query = sa.select(tables.jobs).where(earlier).order_by(AT.id.desc()).limit(200)
        return next((one for one in self._load(query) if one.options.schedule == job.options.schedule), None)

    def claim(self, job: str, counted: bool = False) -> bool:
        """Whether this process works at the job from now on; nobody else did, or is gone.

        Args:
            counted: whether a job at which workers ended again and again fails instead.
        """
        with self._database.write() as connection:
            row = connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
            if row.status not in UNDER_WAY or (self._held(row) and not _ours(row)):
                return False
            mine = {"host": this_host(), "pid": os.getpid(), "beat": to_text(self._clock()), "status": "running"}
            mine["attempts"] = row.attempts + counted
            started = row.started or to_text(self._clock())
            connection.execute(tables.jobs.update().where(AT.id == job).values(started=started, **mine))
        if counted and row.attempts >= MOST_ATTEMPTS:
            error = Fault(
                f"The process that worked at the job ended {row.attempts} times without getting on.",
                todo="See logs/jobs.log of the workspace: the memory may have been too small for a file or a chunk.",
            )
            self.end(job, "failed", error.document())
            return False
        return True

    def next(self) -> str | None:
        """The job whose turn it is, of those at which nobody works."""
        query = sa.select(tables.jobs).where(AT.status.in_(UNDER_WAY)).order_by(AT.served, AT.id)
        with self._database.read() as connection:
            free = [row.id for row in connection.execute(query) if not self._held(row)]
        return free[0] if free else None

    def waiting(self) -> bool:
        """Whether a job waits at which nobody works."""
        return self.next() is not None

    def progress(self, job: str, **values: Any) -> bool:
        """Note how far a job is, and that somebody works at it; gives whether to go on."""
        with self._database.beat() as connection:
            row = connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
            if not _ours(row) or row.status != "running":
                return False
            if values.get("chunks_done", 0) > row.chunks_done:
                values["attempts"] = 0
            changed = tables.jobs.update().where(AT.id == job).values(beat=to_text(self._clock()), **values)
            connection.execute(changed)
        return not row.stopping

    def pause(self, job: str, seconds: float) -> None:
        """Give a job back after a turn of this many seconds by its priority; it goes on with its next one."""
        with self._database.write() as connection:
            mine = (AT.id == job) & (AT.host == this_host()) & (AT.pid == os.getpid())
            values = {**FREE, "served": AT.served + seconds, "attempts": 0}
            connection.execute(tables.jobs.update().where(mine).values(values))

    def stop(self, job: str) -> None:
        """End a job at which this process works, if it was cancelled; leave it if another works at it now."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
        if row.stopping and _ours(row):
            self.end(job, "cancelled")

    def end(
        self, job: str, status: Status, error: dict[str, Any] | None = None, who: str | None = None, **values: Any
    ) -> Job:
        """Note how a job ended, by the one who asked for it or `who`; one that already did, or at which another works,
        stays as it is."""
        tell = self._teller()
        with self._audit.change() as change:
            row = change.connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
            if row.status in UNDER_WAY and (_ours(row) or not self._held(row)):
                ended = {"status": status, "ended": to_text(self._clock()), "error": error, **FREE}
                change.connection.execute(tables.jobs.update().where(AT.id == job).values({**values, **ended}))
                counts = {"scored": values.get("scored", row.scored), "rejected": values.get("rejected", row.rejected)}
                why = {"error": error["error"]} if error else {}
                now = change.connection.execute(sa.select(tables.jobs).where(AT.id == job)).one()
                tell(_job(now), change.connection)
                change.entry(
                    who or row.created_by, f"score {status}", f"{row.model}@{row.version}", job=job, **counts, **why
                )
        return self.get(job)

    def cancel(self, job: str, who: str) -> Job:
        """End a job that is under way; whoever works at it stops within a second.

        Raises:
            Conflict: it has ended.
        """
        found = self.get(job)
        with self._database.write() as connection:
            row = connection.execute(sa.select(tables.jobs).where(AT.id == found.id)).one()
            if row.status not in UNDER_WAY:
                raise Conflict(f"Job {found.id} is {row.status} already.", todo="See it with 'headrace jobs'.")
            connection.execute(tables.jobs.update().where(AT.id == found.id).values(stopping=True))
            held = self._held(row)
        return found if held else self.end(found.id, "cancelled", who=who)

    def retry(self, job: str, who: str, most: int | None = None) -> Job:
        """Queue a job again that failed or was cancelled; it goes on where it stood.

        Args:
            most: how many jobs of the one who asked for it may be under way.

        Raises:
            Conflict: it did not fail, or somebody works at it.
            Overloaded: so many are.
        """
        found = self.get(job)
        with self._audit.change() as change:
            row = change.connection.execute(sa.select(tables.jobs).where(AT.id == found.id)).one()
            if row.status not in ("failed", "cancelled"):
                raise Conflict(f"Job {found.id} is {row.status}.", todo="Only one that failed or was cancelled can be.")
            _need_fewer(change.connection, row.created_by, most)
            values = {"status": "queued", "ended": "", "error": None, "stopping": False, "attempts": 0}
            change.connection.execute(tables.jobs.update().where(AT.id == found.id).values(values))
            change.entry(who, "score again", f"{row.model}@{row.version}", job=found.id)
        return self.get(found.id)

    def _held(self, row: Any) -> bool:
        """Whether somebody works at a job, as far as can be known."""
        if not row.beat or from_text(row.beat) + LEASE < self._clock():
            return False
        return not is_gone(row.host, row.pid)

    def _load(self, query: sa.Select[Any]) -> list[Job]:
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query)]


def _need_fewer(connection: sa.Connection, who: str, most: int | None) -> None:
    """See that fewer than `most` jobs of a caller are under way.

    Raises:
        Overloaded: so many are.
    """
    theirs = sa.select(sa.func.count()).where(AT.status.in_(UNDER_WAY), AT.created_by == who)
    if most is not None and (count := connection.execute(theirs).scalar_one()) >= most:
        raise Overloaded(
            f"{count} jobs of {who} are under way.",
            expected=f"fewer than {most}",
            todo="Wait until one of them is done, or cancel one.",
        )


def identity(asked: Asked) -> str:
    """What two jobs have in common that were asked for in the same words."""
    return digest_value(msgspec.to_builtins(asked))


def _ours(row: Any) -> bool:
    return row.host == this_host() and row.pid == os.getpid()


def _job(row: Any) -> Job:
    return Job(
        id=row.id,
        model=row.model,
        version=row.version,
        source=row.source,
        destination=row.destination,
        options=msgspec.convert(row.options, Options),
        status=row.status,
        created_by=row.created_by,
        created=from_text(row.created),
        started=from_text(row.started) if row.started else None,
        ended=from_text(row.ended) if row.ended else None,
        counts=Counts(scored=row.scored, rejected=row.rejected),
        rows=row.rows,
        chunks=row.chunks,
        chunks_done=row.chunks_done,
        digest=row.digest,
        result=row.result,
        rejects=row.rejects,
        error=row.error,
    )
