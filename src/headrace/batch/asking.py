"""Asking for a job: refused at once where it could never be done, and found again where it was asked for before."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from headrace.batch.job import UNDER_WAY, Asked, Job, Options
from headrace.batch.jobs import Jobs
from headrace.batch.placing import KEPT, exists, is_ours, note_path, placed, rejects_path
from headrace.batch.planning import read_plan, stamp
from headrace.batch.running import most_rejects
from headrace.batch.sources import source_files
from headrace.batch.uploads import PREFIX, located
from headrace.batch.writing import result_format
from headrace.kernel.errors import HeadraceError, InvalidInput
from headrace.kernel.places import Places
from headrace.kernel.records import Version


class Asker(NamedTuple):
    """Who asks, and how many of their jobs may be under way."""

    who: str
    most: int | None = None


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
        source=source if source.startswith(PREFIX) else str(Path(source).absolute()),
        destination=destination if destination.startswith(KEPT) else str(Path(destination).absolute()),
        options=options,
    )
    result_format(destination)
    most_rejects(options.rejects, 1)
    if options.chunk <= 0 or options.threads < 0:
        raise InvalidInput(
            f"A chunk of {options.chunk} bytes in {options.threads} threads cannot be scored.",
            expected="a positive number of bytes, and of threads",
            todo="Correct them.",
        )
    standing = jobs.same(asked)
    if standing is not None and standing.status in UNDER_WAY:
        return standing
    if standing is not None and _holds(places, standing):
        return standing if standing.status == "done" else jobs.retry(standing.id, asker.who)
    target = placed(places, asked.destination)
    paths = source_files(located(places, asked.source), target)
    folder = target.parent
    if not folder.is_dir() and not destination.startswith(KEPT):
        raise InvalidInput(
            f"There is no folder {folder}.", field="destination", expected="a folder that exists", todo="Make it first."
        )
    if target.is_dir():
        raise InvalidInput(
            f"{asked.destination} is a folder.", field="destination", expected="a file", todo="Name one in it."
        )
    if target.resolve() in [path.resolve() for path in paths]:
        raise InvalidInput(
            "The source is its own destination.", field="destination", expected="another file", todo="Name one."
        )
    for path in (target, rejects_path(target)):
        if path.exists() and not options.overwrite:
            raise exists(str(path))
    return jobs.add(asked, asker.who, asker.most)


def _holds(places: Places, job: Job) -> bool:
    """Whether a job that ended still stands for its source, and its result, if it has one, is there."""
    folder = places.jobs / job.id
    try:
        plan = read_plan(places.objects.need(folder / "plan"))
        paths = source_files(located(places, job.source), placed(places, job.destination))
        alike = plan is not None and [(str(p), *stamp(p)) for p in paths] == [one.origin for one in plan.inputs]
    except HeadraceError:
        return False
    if job.status != "done":
        return alike
    result = placed(places, job.result)
    return alike and is_ours(places.objects.latest(note_path(places, job.id, "result")), result)
