"""Jobs that begin by themselves: at the moments of a cron line, of everything or of what is new since the last one.

What a schedule has scored is known by its jobs: the files, or the rows up to a value of a column, of a job count as
scored once it is done. Those of one that failed come again with the next. The moment, the job and what it takes are
written down in one transaction, so a crash neither skips a moment nor scores twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatch
from typing import Any

import msgspec
import sqlalchemy as sa
from croniter import croniter

from headrace.batch.asking import Asker, ask
from headrace.batch.job import UNDER_WAY, Job, Options
from headrace.batch.jobs import Jobs
from headrace.batch.origins.finding import find, newest
from headrace.batch.origins.found import Found
from headrace.batch.storage import WILD
from headrace.batch.targets.choosing import target_of
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import InvalidInput, NotFound, NothingThere, StorageUnavailable
from headrace.kernel.places import Places
from headrace.kernel.records import Record, Version

AT = tables.schedules.c
FILES = tables.scheduled_files.c


class Schedule(Record, frozen=True, kw_only=True):
    """When what is scored. `new`: True for the files that no job of it has scored, or a column of a table or query that
    grows, whose rows above the largest value so far are taken; False for everything each time.

    `destination` may hold ``{date}``, ``{time}`` (UTC), ``{model}`` and ``{version}``.
    """

    model: str
    name: str
    cron: str
    source: str
    destination: str
    options: Options
    new: bool | str = False


class Standing(Record, frozen=True, kw_only=True):
    """How far a schedule is: the last moment that it heeded, and the job that it began then."""

    fired: datetime
    job: str = ""
    after: Any = None
    until: Any = None


class Schedules:
    """The schedules of a workspace."""

    def __init__(
        self, places: Places, database: Database, jobs: Jobs, variables: Mapping[str, str], clock: Clock
    ) -> None:
        self._places = places
        self._database = database
        self._jobs = jobs
        self._variables = variables
        self._clock = clock

    def turn(self, it: Schedule, version: Version, who: str) -> Job | None:
        """Begin the job of a schedule, if one is due, and the one before has ended.

        Raises:
            HeadraceError: it cannot be begun; its moment is over.
            StorageUnavailable: it cannot be begun now; its moment is still to be heeded.
        """
        now = self._clock()
        moment = croniter(it.cron, now + timedelta(seconds=1)).get_prev(datetime)
        standing = self.standing(it)
        if standing is None:
            self._note(it, Standing(fired=now))  # what was due before it was known is not made up for
            return None
        if moment <= standing.fired or self._under_way(standing.job):
            return None
        standing = self._settled(it, standing)
        fired = msgspec.structs.replace(standing, fired=moment, job="")
        try:
            return self._begin(it, version, who, fired)
        except StorageUnavailable:
            raise
        except Exception:
            self._note(it, fired)
            raise

    def standing(self, it: Schedule) -> Standing | None:
        """How far a schedule is; None of one that is new."""
        with self._database.read() as connection:
            query = sa.select(tables.schedules).where(AT.model == it.model, AT.name == it.name)
            row = connection.execute(query).first()
        if row is None:
            return None
        return Standing(fired=from_text(row.fired), job=row.job, after=row.after, until=row.until)

    def _begin(self, it: Schedule, version: Version, who: str, fired: Standing) -> Job | None:
        options, taken = it.options, list[Found]()
        if isinstance(it.new, str):
            until = newest(it.source, it.new, options, self._variables)
            if until is None or until == fired.after:
                self._note(it, fired)
                return None
            options = msgspec.structs.replace(options, after=(it.new, fired.after, until))
            fired = msgspec.structs.replace(fired, until=until)
        elif it.new:
            taken = self._fresh(it)
            if not taken:
                self._note(it, fired)
                return None
            options = msgspec.structs.replace(options, only=tuple(one.origin[0] for one in taken))
        destination = _filled(it.destination, version, fired.fired)
        _need_apart(it.source, destination)

        def also(connection: Any, job: str) -> None:
            self._write(connection, it, msgspec.structs.replace(fired, job=job), taken)

        asker = Asker(who, variables=self._variables, also=also)
        job = ask(self._places, self._jobs, version, it.source, destination, options, asker)
        standing = self.standing(it)
        if standing is None or standing.job != job.id:  # it was asked for before, in the same words
            self._note(it, msgspec.structs.replace(fired, job=job.id), taken)
        return job

    def _fresh(self, it: Schedule) -> list[Found]:
        """The files that no job of the schedule has scored as they are now; none where there are no files."""
        target = target_of(self._places, _any(it), it.options, self._variables)
        with self._database.read() as connection:
            query = sa.select(FILES.path, FILES.size, FILES.stamp).where(FILES.model == it.model, FILES.name == it.name)
            known = {tuple(row) for row in connection.execute(query)}
        try:
            found = find(it.source, it.options, target.own, self._variables)
        except NothingThere:
            return []
        return [one for one in found if one.origin not in known]

    def _settled(self, it: Schedule, standing: Standing) -> Standing:
        """The standing once the last job has ended: what it took is scored if it is done, and is new if it failed."""
        if not standing.job:
            return standing
        done = self._done(standing.job)
        its = (FILES.model == it.model) & (FILES.name == it.name) & (FILES.job == standing.job)
        after = standing.until if done and standing.until is not None else standing.after
        settled = Standing(fired=standing.fired, after=after)
        with self._database.write() as connection:
            files = tables.scheduled_files.update().values(job="") if done else tables.scheduled_files.delete()
            connection.execute(files.where(its))
            self._put(connection, it, settled)
        return settled

    def _under_way(self, job: str) -> bool:
        try:
            return bool(job) and self._jobs.get(job).status in UNDER_WAY
        except NotFound:
            return False

    def _done(self, job: str) -> bool:
        try:
            return self._jobs.get(job).status == "done"
        except NotFound:  # it was freed, long after it ended
            return True

    def _note(self, it: Schedule, standing: Standing, taken: list[Found] | None = None) -> None:
        with self._database.write() as connection:
            self._write(connection, it, standing, taken or [])

    def _write(self, connection: Any, it: Schedule, standing: Standing, taken: list[Found]) -> None:
        self._put(connection, it, standing)
        keys = {"model": it.model, "name": it.name, "job": standing.job}
        rows = [{**keys, "path": one.origin[0], "size": one.origin[1], "stamp": one.origin[2]} for one in taken]
        if rows:
            connection.execute(tables.scheduled_files.insert(), rows)

    def _put(self, connection: Any, it: Schedule, standing: Standing) -> None:
        keys = (AT.model == it.model) & (AT.name == it.name)
        values = {"fired": to_text(standing.fired), "job": standing.job}
        values |= {"after": standing.after, "until": standing.until}
        changed = connection.execute(tables.schedules.update().where(keys).values(values))
        if not changed.rowcount:
            connection.execute(tables.schedules.insert().values(model=it.model, name=it.name, **values))


def _need_apart(source: str, destination: str) -> None:
    """See that the results of one night are not scored in the next.

    Raises:
        InvalidInput: the source would find them.
    """
    inside = destination.startswith(f"{source.rstrip('/')}/")
    if inside or (WILD.search(source) and fnmatch(destination, source)):
        raise InvalidInput(
            f"The results at {destination} would be found by {source}, and scored themselves.",
            field="destination",
            expected="a destination that the source does not find",
            todo="Put the results into another folder.",
        )


def _filled(destination: str, version: Version, moment: datetime) -> str:
    """A destination with the moment and the version in it."""
    known = {"date": f"{moment:%Y-%m-%d}", "time": f"{moment:%H%M%S}", "model": version.name}
    return destination.format(**known, version=version.number)


def _any(it: Schedule) -> str:
    return it.destination.format(date="date", time="time", model="model", version="version")
