"""What people are told when a job of theirs has ended: how it went, how many rows, and where the answers are."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from headrace.batch.job import Job
from headrace.batch.links import KEPT, link_token
from headrace.batch.reporting import EXCEL, HTML
from headrace.notices.outbox import Outbox


class JobTeller:
    """Writes a notice to those whom a job names.

    Args:
        console: the address of the console, for links; empty for none.
        secret: what signs links to results.
    """

    def __init__(self, outbox: Outbox, console: str, secret: bytes) -> None:
        self._outbox = outbox
        self._console = console.rstrip("/")
        self._secret = secret

    def ended(self, job: Job, now: datetime, connection: sa.Connection) -> None:
        """A job that ended, but for one that somebody cancelled. No value of a row is told.

        Args:
            connection: of the change that ends it; it is ended and told of, or neither.
        """
        if job.options.report and job.status == "done":
            self._report(job, connection)
        if not job.options.tell or job.status not in ("done", "failed"):
            return
        name = job.source.rpartition("/")[2]
        counts = f"{job.counts.read:,} rows read, {job.counts.scored:,} scored, {job.counts.rejected:,} rejected"
        kind = str((job.error or {}).get("kind", ""))
        lines = [f"{name}, scored by {job.reference}: {job.status}.", f"{counts}."]
        if job.status == "failed":
            lines.append(f"Why: {kind}. headrace jobs {job.id[-12:]} says all of it.")
        if self._console:
            lines.append(f"{self._console}/jobs/{job.id}")
        document = {
            "type": f"job.{job.status}",
            "job": job.id,
            "model": job.model,
            "version": job.version,
            "scored": job.counts.scored,
            "rejected": job.counts.rejected,
        }
        if job.status == "done" and self._console:
            link = f"{self._console}/fetch/{link_token(self._secret, job.id, now)}"
            lines.append(f"The answers, for {KEPT.days} days: {link}")
            document["result"] = link
        subject = f"[headrace] {name}: {job.status}"
        self._outbox.tell(
            f"job {job.id} {job.status}", job.model, job.options.tell, subject, "\n".join(lines), document, connection
        )

    def _report(self, job: Job, connection: sa.Connection) -> None:
        """The report of a job, with its files."""
        name = f"{job.model}: {job.options.schedule or 'job'} of {job.created:%Y-%m-%d}"
        lines = [f"{job.counts.read:,} rows read, {job.counts.scored:,} scored, {job.counts.rejected:,} rejected."]
        lines += [f"{self._console}/jobs/{job.id}"] if self._console else []
        files = [f"results/{job.id}/{one}" for one in (HTML, EXCEL)]
        document = {"type": "job.report", "job": job.id, "model": job.model, "version": job.version, "files": files}
        told, subject = job.options.report, f"[headrace] {name}"
        self._outbox.tell(f"report {job.id}", job.model, told, subject, "\n".join(lines), document, connection)
