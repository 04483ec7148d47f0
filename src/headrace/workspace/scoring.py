"""The verbs about batch jobs: ask for one, work at it, watch it, end it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace import settings
from headrace.batch.asking import Asker, ask
from headrace.batch.dialect import Wanted
from headrace.batch.job import UNDER_WAY, Job, Options
from headrace.batch.matching import Matched, match
from headrace.batch.origins.files import find_files, lies_within
from headrace.batch.origins.finding import is_file
from headrace.batch.placing import KEPT
from headrace.batch.running import Watching
from headrace.batch.sources import columns_of_file
from headrace.batch.uploads import PREFIX, Uploads, located
from headrace.kernel.clock import to_text
from headrace.kernel.errors import InvalidInput, NotFound, Refused
from headrace.kernel.identifiers import new_id
from headrace.kernel.sizes import parse_size
from headrace.notices.receivers import one_receiver
from headrace.retraining.policy import schedules
from headrace.training.policies import kept_policy
from headrace.workspace.callers import Callers

POLL_SECONDS = 0.2
FORMS = ("csv", "jsonl", "parquet", "xlsx")
SPARE_CORES = 1
"""What a worker leaves to live scoring of a machine's cores."""
TURN_SECONDS = 2.0
"""How long a worker works at one job before it looks whose turn is next."""


class Scoring(Callers):
    """Files and tables of rows, scored as jobs."""

    def score(
        self,
        model: str,
        source: str | Path,
        destination: str | Path,
        *,
        wait: bool = True,
        progress: Watching | None = None,
        text: Wanted | None = None,
        **options: Any,
    ) -> Job:
        """Score a file, a folder of files, or what a glob finds, and write one file of answers.

        The same call after a crash goes on where the job stood; on a job that is done it gives that job, as long as
        its source and its result are unchanged. Ctrl-C leaves it to be gone on with.

        Args:
            source: CSV, JSON Lines, Parquet or Arrow; texts also packed (.gz, .zst).
            wait: work at it here until it is done; else the workers do.
            text: how a CSV is written, as far as it shall not be found out.
            options: see `headrace.batch.job.Options`.
        """
        version = self.version_store.get(model)
        asked = Options(**options) if text is None else Options(text=text, **options)
        for receiver in asked.tell:
            one_receiver(receiver)
        asker = Asker(settings.who(), variables=os.environ)
        job = ask(self.places, self.job_store, version, str(source), str(destination), asked, asker)
        return self.work_at(job.id, progress) if wait else job

    def queue_job(self, model: str, source: str, destination: str, form: str, options: Options) -> Job:
        """A job of somebody who is not on this machine: they name files that they sent, or that may be named.

        Args:
            source: ``upload:ID/NAME``, or a path in a folder of HEADRACE_JOB_FOLDERS.
            destination: such a path; where empty the result is kept here, in the format `form`, to be fetched.

        Raises:
            Refused: a path lies elsewhere.
            Overloaded: too many of their jobs are under way.
        """
        version = self.version_store.get(model)
        if not source.startswith(PREFIX):
            self._need_allowed(source)
            options = msgspec.structs.replace(options, within=tuple(map(str, _folders())))
        for receiver in map(one_receiver, options.tell):
            if receiver.kind == "webhook" and not _listed(receiver.address, settings.read(settings.JOB_HOOKS)):
                raise Refused(
                    f"Jobs of callers may not tell {receiver.address!r}.",
                    expected="a mail address, or an address that begins as one of HEADRACE_JOB_HOOKS",
                    todo="Name another one, or have it added.",
                )
        if form not in FORMS:
            raise InvalidInput(
                f"A result cannot be {form[:40]!r}.", field="form", expected=", ".join(FORMS), todo="Name one of these."
            )
        if destination:
            self._need_allowed(destination)
        else:
            name = f"{Path(source).name.split('.')[0] or 'rows'}.{version.name}.{form}"
            destination = f"{KEPT}{new_id()}/{name}"
        options = msgspec.structs.replace(options, engine=settings.read(settings.JOB_ENGINE))
        asker = Asker(settings.who(), int(settings.read(settings.JOBS_EACH)), os.environ)
        return ask(self.places, self.job_store, version, source, destination, options, asker)

    def _need_allowed(self, path: str) -> None:
        """See that a caller may name a path: links within it lead nowhere else.

        Raises:
            Refused: it lies elsewhere.
        """
        allowed = settings.read(settings.JOB_FOLDERS)
        here = is_file(path)
        wrong = here and (not Path(path).is_absolute() or not lies_within(Path(path), _folders()))
        if wrong or (not here and (".." in path or not _listed(path, allowed))):
            raise Refused(
                f"Jobs of callers may not use {path!r}.",
                expected="a file that was sent (POST /api/uploads), or a path in a folder of HEADRACE_JOB_FOLDERS",
                todo="Send the file, or have the folder added.",
            )

    def uploads(self) -> Uploads:
        """The files that were sent to be scored."""
        return Uploads(self.places, parse_size(settings.read(settings.UPLOADS_EACH)))

    def look(self, model: str, source: str, text: Wanted | None = None) -> Matched:
        """How the columns of a source fit to what a model asks for, before anything is scored."""
        version = self.version_store.get(model)
        first = find_files(located(self.places, source))[0]
        return match(columns_of_file(first, first.name, text or Wanted()), version.schema)

    def first_answers(self, job: str, rows: int = 10) -> pl.DataFrame:
        """The first rows of a job's result, as soon as there are any."""
        return self.runner.first(job, rows)

    def job_file(self, job: str, which: str) -> Path:
        """The result or the rejects of a job that is done, on this machine.

        Raises:
            NotFound: there is none.
        """
        found = self.job_store.get(job)
        there = found.result if which == "result" else found.rejects
        here = self.runner.target(found.id).file(found.id, which) if there else None
        if here is None:
            raise NotFound(
                f"Job {found.id} is {found.status}, and its {which} is not there as a file.",
                todo="Wait for it, or see its error; a file that was moved or changed is not given.",
            )
        return here

    def work_at(self, job: str, progress: Watching | None = None) -> Job:
        """Work at a job until it has ended, or watch it where another process does."""
        watching = progress or _unwatched
        found = self.job_store.get(job)
        while found.status in UNDER_WAY:
            if self.job_store.claim(job):
                found = self.runner.turn(job, float("inf"), watching)
            else:
                time.sleep(POLL_SECONDS)
                found = self.job_store.get(job)
                watching(found, "scoring", found.chunks_done / max(found.chunks, 1))
        return found

    def work_at_jobs(self, going: Callable[[], bool]) -> bool:
        """Take one turn at the job whose turn it is; gives whether there was one."""
        job = self.job_store.next()
        if job is None or not self.job_store.claim(job, counted=True):
            return False
        self.runner.turn(job, TURN_SECONDS if going() else 0.0, _unwatched, SPARE_CORES)
        return True

    def job(self, job: str) -> Job:
        """One job, by its id or the end of it."""
        return self.job_store.get(job)

    def jobs(self, model: str | None = None, limit: int = 50) -> list[Job]:
        """The newest jobs first."""
        return self.job_store.list(model, limit)

    def job_schedules(self, model: str | None = None) -> list[dict[str, Any]]:
        """The schedules of jobs: when, the last moment that was heeded, its job, and the value up to which it took."""
        found = []
        for name in self.version_store.models() if model is None else [model]:
            policy = kept_policy(self.database, name)
            for one in schedules(name, policy.settings) if policy else ():
                it = self.schedules.standing(one)
                known = {"model": name, "name": one.name, "cron": one.cron, "source": one.source}
                told = {"fired": to_text(it.fired), "job": it.job, "until": it.until or it.after} if it else None
                found.append({**known, **(told or {"fired": "", "job": "", "until": None})})
        return found

    def cancel_job(self, job: str) -> Job:
        """End a job that is under way; what it has scored is kept until it is freed."""
        return self.job_store.cancel(job, settings.who())

    def retry_job(self, job: str) -> Job:
        """Queue a job again that failed or was cancelled; it goes on where it stood."""
        return self.job_store.retry(job, settings.who())

    def requeue_job(self, job: str) -> Job:
        """The same for somebody who is not on this machine.

        Raises:
            Overloaded: too many jobs of the one who asked for it are under way.
        """
        return self.job_store.retry(job, settings.who(), int(settings.read(settings.JOBS_EACH)))


def _unwatched(_job: Job, _what: str, _share: float) -> None:
    pass


def _listed(address: str, allowed: str) -> bool:
    begins = [one.strip().rstrip("/") for one in allowed.split(",") if one.strip()]
    return any(address == one or address.startswith((f"{one}/", f"{one}#")) for one in begins)


def _folders() -> list[Path]:
    named = [one.strip() for one in settings.read(settings.JOB_FOLDERS).split(",")]
    return [Path(one).resolve() for one in named if one and is_file(one)]
