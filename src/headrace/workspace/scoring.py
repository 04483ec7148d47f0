"""The verbs about batch jobs: ask for one, work at it, watch it, end it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace import settings
from headrace.batch.asking import ask
from headrace.batch.dialect import Wanted
from headrace.batch.job import UNDER_WAY, Job, Options
from headrace.batch.running import Watching
from headrace.workspace.callers import Callers

POLL_SECONDS = 0.2
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
        job = ask(self.places, self.job_store, version, str(source), str(destination), asked, settings.who())
        return self.work_at(job.id, progress) if wait else job

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
        if job is None or not self.job_store.claim(job):
            return False
        self.runner.turn(job, TURN_SECONDS if going() else 0.0, _unwatched)
        return True

    def job(self, job: str) -> Job:
        """One job, by its id or the end of it."""
        return self.job_store.get(job)

    def jobs(self, model: str | None = None, limit: int = 50) -> list[Job]:
        """The newest jobs first."""
        return self.job_store.list(model, limit)

    def cancel_job(self, job: str) -> Job:
        """End a job that is under way; what it has scored is kept until it is freed."""
        return self.job_store.cancel(job, settings.who())

    def retry_job(self, job: str) -> Job:
        """Queue a job again that failed or was cancelled; it goes on where it stood."""
        return self.job_store.retry(job, settings.who())


def _unwatched(_job: Job, _what: str, _share: float) -> None:
    pass
