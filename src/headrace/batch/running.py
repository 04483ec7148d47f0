"""Working at a job: plan it, have its chunks scored, make one file of the parts, and say how it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from polars.exceptions import PanicException

from headrace.batch.capturing import Capturing, Policy
from headrace.batch.engines.choosing import engine_of
from headrace.batch.engines.engine import Engine
from headrace.batch.figures import added, edges_of
from headrace.batch.job import Asked, Chunk, Counts, Job, Plan
from headrace.batch.jobs import Jobs
from headrace.batch.origins.finding import find
from headrace.batch.parts import Parts
from headrace.batch.planning import chunks_of, localised, make_plan, need_within, read_plan, threads_of, write_plan
from headrace.batch.reporting import read_summary, summarised, write_report
from headrace.batch.scoring import Order
from headrace.batch.sources import TEXTS
from headrace.batch.targets.choosing import target_of
from headrace.batch.targets.target import Target
from headrace.batch.uploads import PREFIX, located
from headrace.batch.writing import TABLES, Shape, header_of, read_first, shape_of
from headrace.kernel.errors import Fault, FellShort, HeadraceError, InvalidInput
from headrace.kernel.objects import Objects
from headrace.kernel.places import Places
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Version
from headrace.registry.versions import Versions
from headrace.runtimes.bundle import GOLDEN_OUTPUTS

TOLD_SECONDS = 0.25
BEAT_SECONDS = 2.0
MOST_SCORERS = 3
Watching = Callable[[Job, str, float], None]
"""Is told how a job stands, what is done (reading, scoring, writing), and which share of that."""


class Paused(Exception):
    """The turn is over; the job goes on with its next one."""


class Stopped(Exception):
    """The job was cancelled, or another process works at it."""


class Under(NamedTuple):
    """A job under way."""

    job: str
    asked: Asked
    version: Version
    plan: Plan
    chunks: list[Chunk]
    parts: Parts
    shape: Shape


class Runner:
    """Works at the jobs of a workspace."""

    def __init__(
        self,
        places: Places,
        jobs: Jobs,
        versions: Versions,
        variables: Mapping[str, str],
        policy_of: Callable[[str], Policy],
    ) -> None:
        self._policy_of = policy_of
        self._spare = 0
        self._places = places
        self._variables = variables
        self._objects: Objects = places.objects
        self._jobs = jobs
        self._versions = versions
        self._scorers: dict[str, Scorer] = {}

    def turn(self, job: str, seconds: float, watching: Watching, spare: int = 0) -> Job:
        """Work at a claimed job for some seconds, at least one chunk; gives it as it stands then.

        Args:
            spare: how many cores are left to others, where the job does not say in how many threads it is done.
        """
        self._spare = spare
        began = time.monotonic()
        over = threading.Event()
        threading.Thread(target=self._beat, args=(job, over), daemon=True).start()
        try:
            found = self._worked(job, watching, lambda: time.monotonic() - began > seconds)
        except Paused:
            self._jobs.pause(job, (time.monotonic() - began) / _weight(self._jobs.get(job)))
            found = self._jobs.get(job)
        except Stopped:
            self._jobs.stop(job)
            found = self._jobs.get(job)
        except HeadraceError as error:
            found = self._jobs.end(job, "failed", error.document(), rejects=self._rejects_there(job))
        except KeyboardInterrupt:
            self._jobs.pause(job, 0.0)
            raise
        except (Exception, PanicException) as error:
            fault = Fault(f"The job failed: {type(error).__name__}: {error}.", todo="Please report this.")
            self._jobs.end(job, "failed", fault.document())
            raise
        finally:
            over.set()
        return found

    def _rejects_there(self, job: str) -> str:
        """Where the rejected rows of a job that failed lie, if they were written."""
        try:
            return self.target(job).rejects_there(job)
        except HeadraceError:
            return ""

    def target(self, job: str) -> Target:
        """Where the answers of a job go."""
        asked = self._jobs.asked(job)
        return target_of(self._places, asked.destination, asked.options, self._variables)

    def _beat(self, job: str, over: threading.Event) -> None:
        """Say that somebody works at a job, however long a chunk or a file takes."""
        while not over.wait(BEAT_SECONDS):
            with contextlib.suppress(HeadraceError):  # the database is away: the next beat tells
                if not self._jobs.progress(job):
                    return

    def first(self, job: str, rows: int) -> pl.DataFrame:
        """The first rows of a job's result, as far as there are any."""
        found = self._jobs.get(job)
        job, done = found.id, found.result
        asked = self._jobs.asked(job)
        plan = read_plan(self._objects.need(self._places.jobs / job / "plan"))
        if plan is None:
            return pl.DataFrame()
        version = self._versions.get(f"{asked.model}@{asked.version}")
        shape = self._shape(asked, plan, version)
        if done:
            return self.target(job).first(job, shape, rows)
        parts = self._parts(job, chunks_of(plan, asked.options.chunk)[:1], shape)
        there = parts.first()
        return pl.DataFrame() if there is None else read_first(there.file, shape, rows, there.headed, there.size)

    def _parts(self, job: str, chunks: list[Chunk], shape: Shape) -> Parts:
        header = None if shape.form in TABLES else header_of(shape)
        return Parts(self._objects, self._places.jobs / job / "parts", chunks, header)

    def _shape(self, asked: Asked, plan: Plan, version: Version) -> Shape:
        form = target_of(self._places, asked.destination, asked.options, self._variables).form
        return shape_of(form, asked, plan, self._versions.folder(version))

    def _worked(self, job: str, watching: Watching, over: Callable[[], bool]) -> Job:
        asked = self._jobs.asked(job)
        version = self._versions.get(f"{asked.model}@{asked.version}")
        folder = self._places.jobs / job
        plan = self._planned(job, asked, version, folder, watching)
        shape = self._shape(asked, plan, version)
        chunks = chunks_of(plan, asked.options.chunk)
        under = Under(job, asked, version, plan, chunks, self._parts(job, chunks, shape), shape)
        self._score(under, watching, over)
        return self._finish(under, watching)

    def _planned(self, job: str, asked: Asked, version: Version, folder: Path, watching: Watching) -> Plan:
        """The plan of a job, made in its first turn."""
        path = folder / "plan"
        plan = read_plan(self._objects.need(path))
        if plan is not None:
            return self._here(plan)
        own = self.target(job).own
        found = find(located(self._places, asked.source), asked.options, own, self._variables)
        if not asked.source.startswith(PREFIX):
            need_within(found, asked.options.within)
        plan = make_plan(asked, found, version.schema, folder / "taken", self._telling(job, watching))
        if (folder / "taken").exists():
            self._objects.share(folder / "taken")
        self._objects.put(path, write_plan(plan))
        chunks = len(chunks_of(plan, asked.options.chunk))
        self._note(job, rows=plan.rows, chunks=chunks, digest=plan.id)
        return self._here(plan)

    def _here(self, plan: Plan) -> Plan:
        """The plan with the workspace's own files as they lie on this machine."""
        return localised(plan, lambda path: self._objects.need(self._places.root / path))

    def _telling(self, job: str, watching: Watching) -> Callable[[str, float], None]:
        """Tells how far a job is, not more often than people can see."""
        last = 0.0

        def told(what: str, share: float) -> None:
            nonlocal last
            if time.monotonic() - last >= TOLD_SECONDS:
                last = time.monotonic()
                self._note(job)
                watching(self._jobs.get(job), what, share)

        return told

    def _note(self, job: str, **values: Any) -> None:
        if not self._jobs.progress(job, **values):
            raise Stopped

    def _score(self, under: Under, watching: Watching, over: Callable[[], bool]) -> None:
        """Have the chunks scored that have no part yet."""
        self._tell(under, watching)
        left = under.parts.left
        if not left:
            return
        folder = self._versions.folder(under.version)
        edges = edges_of(pl.read_ipc(folder / GOLDEN_OUTPUTS)) if under.asked.options.report else None
        order = Order(under.asked, under.plan, under.shape, self._capturing(under), edges)
        engine = self._engine(under, folder)
        began = last = time.monotonic()
        total = under.parts.counts
        scored = engine.scored(left, order, under.parts.put)
        try:
            for number, (_, counts) in enumerate(scored, 1):
                total = _sum((total, counts))
                self._need_few(under, total)
                if time.monotonic() - last >= TOLD_SECONDS:
                    last = time.monotonic()
                    self._tell(under, watching)
                if over() and number < len(left) and time.monotonic() - began >= engine.turn:
                    raise Paused
        finally:
            scored.close()
        self._tell(under, watching)

    def _capturing(self, under: Under) -> Capturing | None:
        """What makes rows for the predictions table, where they are wanted."""
        if not under.asked.options.capture:
            return None
        job = self._jobs.get(under.job)
        policy = self._policy_of(under.asked.model)
        moment = job.started or job.created
        return Capturing(under.asked, under.plan, under.version.schema, policy, moment, job.created_by)

    def _scorer(self, version: Version) -> Scorer:
        """The scorer of a version; the last few are kept from turn to turn."""
        found = self._scorers.pop(version.digest, None) or self._versions.open(version)
        self._scorers[version.digest] = found
        while len(self._scorers) > MOST_SCORERS:
            del self._scorers[next(iter(self._scorers))]
        return found

    def _engine(self, under: Under, folder: Path) -> Engine:
        """Where the chunks are scored; what leaves this machine was verified before."""
        options, version = under.asked.options, under.version
        scorer = self._scorer(version)
        threads = threads_of(options.threads, self._spare)
        scratch = self._places.jobs / under.job / "parts"
        return engine_of(options.engine, threads, options.threads, folder, version.digest, lambda: scorer, scratch)

    def _tell(self, under: Under, watching: Watching) -> None:
        total, done = under.parts.counts, len(under.parts.marks)
        self._note(under.job, scored=total.scored, rejected=total.rejected, chunks_done=done)
        watching(self._jobs.get(under.job), "scoring", done / max(len(under.chunks), 1))

    def _need_few(self, under: Under, total: Counts) -> None:
        """Stop a job early that has more rejects already than it may have in the end."""
        most = most_rejects(under.asked.options.rejects, under.plan.rows)
        if most is not None and total.rejected > most:
            raise _too_many(total, under.asked.options.rejects, self._write_rejects(under))

    def _finish(self, under: Under, watching: Watching) -> Job:
        """Make the result of the parts, put it where it belongs, and end the job."""
        self._note(under.job)
        watching(self._jobs.get(under.job), "writing", 0.0)
        total = under.parts.counts
        if not total.read:
            raise InvalidInput("The source holds no rows.", field="source", todo="Give a source with rows.")
        rejects = self._write_rejects(under) if total.rejected else ""
        most = most_rejects(under.asked.options.rejects, total.read)
        if most is not None and total.rejected > most:
            raise _too_many(total, under.asked.options.rejects, rejects)
        answers = under.parts.answers(threads_of(under.asked.options.threads, self._spare))
        self.target(under.job).deliver(under.job, answers, under.shape, lambda: self._note(under.job))
        if under.asked.options.capture:
            self._ship(under)
        if under.asked.options.report:
            self._report(under)
        facts = {"scored": total.scored, "rejected": total.rejected, "chunks_done": len(under.chunks)}
        ended = self._jobs.end(under.job, "done", result=under.asked.destination, rejects=rejects, **facts)
        for name in ("parts", "taken"):
            self._discard(self._places.jobs / under.job / name)
        return ended

    def _report(self, under: Under) -> None:
        """Write the report, beside what was kept of the job before it in its schedule."""
        job = self._jobs.get(under.job)
        marks = under.parts.marks
        scored, figures = sum(mark.counts.scored for mark in marks), added(mark.figures for mark in marks)
        now = summarised(job, scored, (reject.field for mark in marks for reject in mark.rejects), figures)
        earlier = self._jobs.before(job)
        before = None if earlier is None else read_summary(self._objects, self._places.results / earlier.id)
        write_report(self._objects, self._places.results / job.id, job, now, before)

    def _ship(self, under: Under) -> None:
        """Leave the rows for the predictions table to the worker, in their order; it takes each of them once.

        Each file is named by a number that no row in it reaches, and every row after it does.
        """
        ends = [*(_first_row(under.plan, chunk) for chunk in under.chunks[1:]), under.plan.rows]
        for chunk, end in zip(under.chunks, ends, strict=True):
            path = self._objects.need(under.parts.captured_path(chunk))
            if path.exists():
                name = f"{under.plan.id}.{end:012d}.arrow"
                self._objects.put(self._places.predictions_inbox / name, path.read_bytes())

    def _discard(self, path: Path) -> None:
        if self._objects.remote or path.exists():
            self._objects.discard(path)

    def _write_rejects(self, under: Under) -> str:
        """Write the rejected rows beside the result; gives where."""
        rejects = (mark.rejects for mark in under.parts.marks)
        return self.target(under.job).deliver_rejects(under.job, rejects, lambda: self._note(under.job))


def _first_row(plan: Plan, chunk: Chunk) -> int:
    """The number of the first row of a chunk within the source."""
    it = plan.inputs[chunk.input]
    return it.blocks[chunk.first][1] + it.base + (it.format not in TEXTS)


def _weight(job: Job) -> float:
    """By how much more turns a job of a higher priority gets."""
    return 2.0 ** max(-10, min(job.options.priority, 10))


def most_rejects(text: str, rows: int) -> int | None:
    """How many of so many rows may be rejected: ``100``, ``1%``, or any where empty.

    Raises:
        InvalidInput: it is neither a number nor a share.
    """
    if not text:
        return None
    number = text.removesuffix("%")
    try:
        value = float(number)
        if not value >= 0 or (text.endswith("%") and value > 100) or (text == number and value != int(value)):
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            f"{text!r} is no number of rejects.",
            field="max_rejects",
            expected="a number such as 100, or a share such as 1%",
            todo="Correct it.",
        ) from error
    return int(rows * value / 100) if text.endswith("%") else int(value)


def _sum(counts: Iterable[Counts]) -> Counts:
    counts = list(counts)
    return Counts(scored=sum(c.scored for c in counts), rejected=sum(c.rejected for c in counts))


def _too_many(total: Counts, limit: str, where: str) -> FellShort:
    return FellShort(
        f"{total.rejected} of {total.read} rows were rejected.",
        expected=f"at most {limit}",
        todo=f"See {where}, then correct the rows, or allow more.",
    )
