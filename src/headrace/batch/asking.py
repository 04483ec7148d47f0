"""Asking for a job: refused at once where it could never be done, and found again where it was asked for before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from headrace.batch.engines.choosing import need_engine
from headrace.batch.job import UNDER_WAY, Asked, Job, Options
from headrace.batch.jobs import Jobs
from headrace.batch.origins.finding import find, is_file
from headrace.batch.origins.found import Found
from headrace.batch.placing import KEPT
from headrace.batch.planning import read_plan
from headrace.batch.running import most_rejects
from headrace.batch.sources import need
from headrace.batch.targets.choosing import target_of
from headrace.batch.targets.target import Target
from headrace.batch.uploads import PREFIX, located
from headrace.kernel.errors import HeadraceError, InvalidInput
from headrace.kernel.places import Places
from headrace.kernel.records import Version


class Asker(NamedTuple):
    """Who asks, how many of their jobs may be under way, the environment that addresses may be in, and what is
    written together with a new job."""

    who: str
    most: int | None = None
    variables: Mapping[str, str] = {}
    also: Callable[[Any, str], None] | None = None


def ask(
    places: Places, jobs: Jobs, version: Version, source: str, destination: str, options: Options, asker: Asker
) -> Job:
    """A job that scores `source`: a new one, or the one that was asked for in the same words and still holds.

    One that failed, or is under way, goes on; one that is done holds while its source and its result are unchanged.

    Raises:
        InvalidInput: it could never be done.
        Conflict: the destination exists.
    """
    asked = Asked(
        model=version.name,
        version=version.number,
        bundle=version.digest,
        source=source if source.startswith(PREFIX) else _absolute(source),
        destination=destination if destination.startswith(KEPT) else _absolute(destination),
        options=options,
    )
    _need_possible(options)
    target = target_of(places, asked.destination, options, asker.variables)
    standing = jobs.same(asked)
    if standing is not None and standing.status in UNDER_WAY:
        return standing
    if standing is not None and _holds(places, standing, target, asker.variables):
        return standing if standing.status == "done" else jobs.retry(standing.id, asker.who, asker.most)
    found = _found(places, asked.source, options, target, asker.variables)
    target.check(one.path for one in found if one.fetch is None)
    return jobs.add(asked, asker.who, asker.most, asker.also)


def _absolute(place: str) -> str:
    return str(Path(place).absolute()) if is_file(place) else place


def _need_possible(options: Options) -> None:
    most_rejects(options.rejects, 1)
    need_engine(options.engine)
    if options.report:
        need("xlsxwriter", "A report")
    if options.chunk <= 0 or options.threads < 0:
        raise InvalidInput(
            f"A chunk of {options.chunk} bytes in {options.threads} threads cannot be scored.",
            expected="a positive number of bytes, and of threads",
            todo="Correct them.",
        )


def _found(places: Places, source: str, options: Options, target: Target, variables: Mapping[str, str]) -> list[Found]:
    return find(located(places, source), options, target.own, variables)


def _holds(places: Places, job: Job, target: Target, variables: Mapping[str, str]) -> bool:
    """Whether a job that ended still stands for its source, and its result, if it has one, is there."""
    try:
        plan = read_plan(places.objects.need(places.jobs / job.id / "plan"))
        found = _found(places, job.source, job.options, target, variables)
        alike = plan is not None and [one.origin for one in found] == [one.origin for one in plan.inputs]
        return alike and (job.status != "done" or target.holds(job.id))
    except HeadraceError:
        return False
