"""How the rooms of one workspace are wired."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from headrace import settings
from headrace.access.attempts import Attempts
from headrace.access.keys import Keys
from headrace.access.people import People
from headrace.access.sessions import Sessions
from headrace.audit.log import AuditLog
from headrace.audit.signing import open_signer
from headrace.batch.capturing import Policy as CapturePolicy
from headrace.batch.job import Job
from headrace.batch.jobs import Jobs
from headrace.batch.running import Runner
from headrace.batch.schedules import Schedules
from headrace.batch.telling import JobTeller
from headrace.data.snapshots import Snapshots
from headrace.delivery.deploying import Asked as DeploymentAsked
from headrace.delivery.deploying import Deployer, Words
from headrace.delivery.deploying import Rooms as DeployingRooms
from headrace.delivery.deployments import Deployments
from headrace.delivery.targets.own import own
from headrace.delivery.tending import tend
from headrace.kernel.callers import ConsumerTraffic
from headrace.kernel.clock import Clock
from headrace.kernel.database import open_database
from headrace.kernel.errors import NotTrusted, RunFailed, Unavailable, rebuilt
from headrace.kernel.places import Places, agreed
from headrace.kernel.records import Run, Version
from headrace.kernel.threads import build_records
from headrace.monitoring.predictions import Tables
from headrace.monitoring.reference import build_reference
from headrace.monitoring.windows import Windows
from headrace.notices.delivering import Postman
from headrace.notices.mail import mail_server
from headrace.notices.outbox import Outbox
from headrace.notices.templates import templates_in
from headrace.registry.approvals import Approvals
from headrace.registry.forms import installed_forms
from headrace.registry.promotion import POLICY, Promotions
from headrace.registry.routing import derive, served
from headrace.registry.versions import Versions
from headrace.retraining.loop import Loop
from headrace.retraining.loop import Rooms as LoopRooms
from headrace.retraining.telling import Teller
from headrace.rollout.rollouts import Rollouts
from headrace.serving.secret import open_secret
from headrace.serving.traffic import consumer_traffic
from headrace.training.collecting import Collector
from headrace.training.leases import Leases
from headrace.training.openlineage import OpenLineage
from headrace.training.pipeline import Rooms as PipelineRooms
from headrace.training.policies import kept_policy
from headrace.training.proofs import Proofs
from headrace.training.runs import Asked, Runs
from headrace.training.starting import Starter
from headrace.training.tested import Tested

Progress = Callable[[Run], None]
POLL_SECONDS = 0.1
MOST_STARTS = 3


class Rooms:
    """The rooms of one workspace, each with what it needs."""

    def __init__(self, places: Places, clock: Clock) -> None:
        build_records()
        self.places = places
        self.clock = clock
        self.database = open_database(places.database)
        chain_signer = open_signer(agreed(places, places.audit_key, open_signer))
        self.audit_log = AuditLog(self.database, chain_signer, places.objects, places.audit_head, clock)
        self.snapshots = Snapshots(places, self.database, self.audit_log, clock)
        self.signer = open_signer(agreed(places, places.signing_key, open_signer))
        self.version_store = Versions(places, self.database, self.audit_log, clock, installed_forms, self.signer)
        self._publish_key()
        self.approvals = Approvals(self.database, self.audit_log, clock)
        self.promotions = Promotions(places, self.database, self.audit_log, clock, self.version_store, self.approvals)
        self.run_store = Runs(self.database, self.audit_log, clock)
        self.starter = Starter(places, self.database, self.audit_log, clock, self.run_store)
        self.proof_store = Proofs(self.database, self.audit_log)
        self.tested = Tested(self.database, self.audit_log)
        self.tables = Tables(places, self.database, clock)
        self.windows = Windows(self.database, self.audit_log, clock, self.tables)
        self.rollouts = Rollouts(self.database, self.audit_log, clock, self.version_store, self.promotions)
        self.key_store = Keys(places, self.database, self.audit_log, clock)
        self.people_store = People(self.database, self.audit_log, clock)
        self.session_store = Sessions(self.database, self.audit_log, clock, self.people_store)
        self.attempts = Attempts(time.monotonic)
        self.outbox = Outbox(self.database, clock)
        self.collector = Collector(places, self.audit_log, self.snapshots, clock)
        self.leases = Leases(self.database, clock)
        self.job_store = Jobs(self.database, self.audit_log, clock, self._job_teller)
        self.deployment_store = Deployments(places, self.database, self.audit_log, clock)
        self.runner = Runner(places, self.job_store, self.version_store, os.environ, self._captured_by)

    @property
    def schedules(self) -> Schedules:
        """What begins jobs by itself."""
        return Schedules(self.places, self.database, self.job_store, os.environ, self.clock)

    def _publish_key(self) -> None:
        """Write the public half of the signing key, once what an earlier Headrace registered here is signed."""
        public = self.places.signing_public
        if not self.places.objects.latest(public).exists():
            if not self.places.objects.remote:
                self.version_store.sign_earlier()
            self.places.objects.put(public, self.signer.public.pem)
            self.places.objects.latest(public)
        elif self.places.keys is not None and public.read_bytes() != self.signer.public.pem:
            raise NotTrusted(
                f"{self.places.signing_key} is not the key that signs this workspace's bundles.",
                expected="the private keys of this workspace in HEADRACE_KEYS",
                todo="Put them there, or correct HEADRACE_KEYS.",
            )

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def loop_rooms(self) -> LoopRooms:
        """What the loop of this workspace works with."""
        return LoopRooms(
            self.places,
            self.database,
            self.version_store,
            self.promotions,
            self.tables,
            self.windows,
            self.rollouts,
            self.run_store,
            self.starter.again,
            lambda version, reason, who: self.starter.prove(version, {"version": version.reference}, who, reason),
            Teller(self.outbox, settings.read(settings.CONSOLE_URL)),
            self.consumers,
            self.proof_store,
            self.schedules,
            self.deployment_store,
            self.starter.deploy,
            lambda: tend(self.deployment_store, self.places, lambda: derive(self.database)),
            self.tested,
        )

    def postman(self) -> Postman:
        """What brings notices, by the settings.

        Raises:
            InvalidInput: the mail server cannot be one, or the folder of templates is none.
        """
        server = mail_server(settings.read(settings.SMTP))
        secret = settings.read(settings.WEBHOOK_SECRET)
        templates = templates_in(settings.read(settings.TEMPLATES))

        def content(name: str) -> bytes:
            return self.places.objects.read(self.places.root / name)

        return Postman(server, secret, self.clock, content, templates)

    def consumers(self) -> list[ConsumerTraffic]:
        """What each consumer asked of each model within a day, and its latency against its objective."""
        return consumer_traffic(self.scorer_files(), self.key_store.list())

    def scorer_files(self) -> Path:
        """The folder of what the scoring processes count."""
        return self.places.objects.gather(self.places.scorers, exactly=False)

    def _job_teller(self) -> Callable[[Job, sa.Connection], None]:
        """What tells of a job within the change that ends it; what it needs of the storage it has before."""
        console = settings.read(settings.CONSOLE_URL)
        teller = JobTeller(self.outbox, console, self.console_secret() if console else b"")
        return lambda job, connection: teller.ended(job, self.clock(), connection)

    def _captured_by(self, model: str) -> CapturePolicy:
        """What may be written down of a model's answers."""
        policy = kept_policy(self.database, model)
        return CapturePolicy(served(msgspec.to_builtins(policy) if policy else None), self.secret)

    def secret(self) -> bytes:
        """The secret of hashes of captured columns."""
        return open_secret(agreed(self.places, self.places.capture_key, open_secret))

    def console_secret(self) -> bytes:
        """The secret of what the console signs; unlike that of hashes it goes to no other machine."""
        return open_secret(agreed(self.places, self.places.console_key, open_secret))

    def loop(self) -> Loop:
        """The loop of this workspace, for a worker."""
        return Loop(self.loop_rooms(), self.clock)

    def pipeline_rooms(self) -> PipelineRooms:
        """What the steps of a run work with."""
        return PipelineRooms(
            self.places,
            self.snapshots,
            self.version_store,
            self.run_store,
            _profile,
            self.proof_store,
            self.signer,
            self.clock,
            OpenLineage(settings.read(settings.OPENLINEAGE), self.places.name, self.clock),
            self._deploy,
        )

    @property
    def deployer(self) -> Deployer:
        """What puts versions on targets."""
        return Deployer(
            DeployingRooms(
                self.places,
                self.version_store,
                self.deployment_store,
                self.signer,
                self.clock,
                lambda: derive(self.database),
                self.secret,
                lambda: Words(
                    *map(settings.read, (settings.BUILD_OPTIONS, settings.PUSH_OPTIONS, settings.ENDPOINT_KEY))
                ),
            )
        )

    def _deploy(self, run: str, asked: Asked, target: str) -> dict[str, Any]:
        """The step of a run that puts a version on one target. One that policy asked for and that is no longer live by
        now is left out: the run for what is live follows."""
        version = self.version_store.get(asked.params["version"])
        if asked.who == POLICY and "live" not in version.aliases:
            return {"skipped": target, "note": f"{version.reference} is not live any more"}
        root = Path(asked.root)
        code = self.places.objects.need(self.places.code / asked.code)
        wanted = DeploymentAsked(
            version,
            target,
            asked.policy.targets[target],
            root if root.is_dir() else self.places.root / "deployed",
            lambda it, section: own(it, section, code),
            asked.who,
            asked.reason,
        )
        done = self.deployer.deploy(wanted, lambda _: None, f"{run}-{target}")
        return {"deployment": done.id, "note": done.text}

    def ended(self, run: Run) -> Version:
        if run.status == "done" and run.version is not None:
            return self.version(f"{run.model}@{run.version}")
        if run.error is not None:
            raise rebuilt(run.error)
        raise RunFailed(f"Run {run.id} ended as {run.status}.", todo=f"See 'headrace runs {run.model}'.")

    def waited(self, run: str, progress: Progress | None) -> Run:
        worker = None if self.leases.living() else self._start_worker()
        starts = 1
        try:
            while True:
                found = self.run_store.get(run)
                if progress is not None:
                    progress(found)
                if found.status not in ("queued", "running"):
                    return found
                if worker is not None and worker.poll() is not None and not self.leases.living():
                    if starts == MOST_STARTS:
                        raise Unavailable(
                            f"The worker ended {starts} times without finishing run {run}.",
                            todo=f"See {self.places.logs / 'worker.log'}; the run goes on with 'headrace worker'.",
                        )
                    worker, starts = self._start_worker(), starts + 1
                time.sleep(POLL_SECONDS)
        finally:
            if worker is not None:
                worker.terminate()
                worker.wait()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        self.places.logs.mkdir(parents=True, exist_ok=True)
        log = self.places.logs / "worker.log"
        with log.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "headrace", "worker"],
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=settings.environment_of(self.places),
            )


def _profile(scorer: Any, training: pl.DataFrame, test: pl.DataFrame, answers: Any, asked: Asked) -> bytes:
    section, dataset = asked.policy.settings, asked.policy.dataset
    reference = build_reference(scorer, training, test, answers, section.target, dataset.time, section.monitor.window)
    return msgspec.json.encode(reference)
