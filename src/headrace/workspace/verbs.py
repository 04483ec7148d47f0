"""The verbs of a workspace: each is a line or two over the rooms."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace import settings
from headrace.audit.signing import PublicKey
from headrace.compiler.golden import answers_frame
from headrace.data.differences import TableDifference
from headrace.data.frames import columns_of, storable, to_polars
from headrace.data.inference import infer_schema
from headrace.data.validation import conform, refuse_infinite
from headrace.kernel.callers import ScoringCounts
from headrace.kernel.clock import parse_duration, utc_now
from headrace.kernel.database import open_database
from headrace.kernel.errors import HeadraceError, NotFound, rebuilt
from headrace.kernel.folders import need_empty
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places
from headrace.kernel.records import (
    Approval,
    Assessment,
    AuditEntry,
    AuditReport,
    Certificate,
    Copied,
    Forgotten,
    Freed,
    Graph,
    Hit,
    Hold,
    Proof,
    Run,
    Version,
)
from headrace.monitoring.erasing import expire, forget
from headrace.monitoring.replay import replay as replayed
from headrace.monitoring.trace import trace
from headrace.registry.copying import Progress as CopyProgress
from headrace.registry.copying import copy_workspace
from headrace.registry.exporting import export
from headrace.registry.moving import move_workspace
from headrace.registry.search import search_versions
from headrace.registry.trusting import add_trusted
from headrace.registry.verifying import problems_of
from headrace.retraining.lineage import lineage_graph
from headrace.retraining.showing import evidence
from headrace.retraining.status import loop_progress, loop_status
from headrace.serving.decoding import RowDecoder
from headrace.serving.traffic import scoring_counts
from headrace.training.applying import Change
from headrace.training.assessing import assess
from headrace.training.collecting import OLD
from headrace.training.comparison import Difference, compare_runs
from headrace.training.importing import Given, is_address, register_file
from headrace.training.policies import kept_policy
from headrace.training.project import FILE, read_project
from headrace.training.prove import recorded
from headrace.training.registering import register_fitted
from headrace.training.version_diff import Side, compare_versions
from headrace.workspace.deploying import Deploying

Progress = Callable[[Run], None]
POLL_SECONDS = 0.1
MOST_STARTS = 3


LIVE = "live"
KEPT = "400d"
"""How long the predictions of a model without a project are kept."""


class Workspace(Deploying):
    """One workspace. See the verbs in the README; each says what it raises in its own room."""

    def run(
        self,
        model: str | None = None,
        *,
        project: str | Path = ".",
        sweep: dict[str, list[Any]] | None = None,
        progress: Progress | None = None,
        reason: str = "asked for",
        sample: int = 0,
        **params: Any,
    ) -> Version:
        """Run a project's pipeline durably and wait for the version; a worker is started where none lives.

        Args:
            sample: only so many rows, drawn by the model's seed, to see that the pipeline works; 0 for all.
        """
        run = self.start_run(model, project=project, sweep=sweep, reason=reason, sample=sample, **params)
        return self.wait(run, progress)

    def start_run(
        self,
        model: str | None = None,
        *,
        project: str | Path = ".",
        sweep: dict[str, list[Any]] | None = None,
        reason: str = "asked for",
        sample: int = 0,
        **params: Any,
    ) -> str:
        """Start a run and give its id; the workers do the rest."""
        return self.starter.from_project(Path(project), model, params, sweep or {}, settings.who(), reason, sample)

    def plan(self, project: str | Path = ".") -> list[Change]:
        """What `apply` would change: where a project is otherwise than what the workspace keeps of it."""
        return self.starter.changes(read_project(Path(project)))

    def apply(self, project: str | Path = ".") -> list[Change]:
        """Bring a project's policies and code into the workspace, without a run: schedules, alarms, rollouts,
        deployments and the next retraining go by them. Gives what was changed."""
        return self.starter.apply(read_project(Path(project)), settings.who())

    def again(self, model: str, reason: str = "asked for") -> str:
        """Start a run of a model by its kept policy and code, on the data as it is now; gives its id."""
        return self.starter.again(model, reason, settings.who(), new_id())

    def wait(self, run: str, progress: Progress | None = None) -> Version:
        """Wait for a run to end; its version, or RunFailed (or what the project did wrong)."""
        return self.ended(self.waited(run, progress))

    def prove(
        self,
        reference: str,
        *,
        same_environment: bool = False,
        project: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Proof:
        """Make a version again from its records, twice, and say how far the result is the same.

        Args:
            same_environment: with the packages that are installed here, instead of the recorded ones anew.
            project: with what the project in this folder is now (data, code, parameters, threads), to find what
                differs from the records.
        """
        run = self.start_proof(reference, same_environment=same_environment, project=project)
        return self.wait_proof(run, progress)

    def start_proof(
        self,
        reference: str,
        *,
        same_environment: bool = False,
        project: str | Path | None = None,
        reason: str = "asked for",
    ) -> str:
        """Start a proof and give the id of its run; the workers do the rest."""
        version = self.version(reference)
        recorded(self.pipeline_rooms(), version.reference)
        folder = str(Path(project).absolute()) if project else ""
        params = {"version": version.reference, "same_environment": same_environment, "project": folder}
        return self.starter.prove(version, params, settings.who(), reason)

    def wait_proof(self, run: str, progress: Progress | None = None) -> Proof:
        """Wait for a proof to end."""
        found = self.waited(run, progress)
        if found.error is not None:
            raise rebuilt(found.error)
        return self.proof_store.get(run)

    def proofs(self, reference: str) -> list[Proof]:
        """The newest proofs of a version first."""
        version = self.version(reference)
        return self.proof_store.list(version.name, version.number)

    def register(
        self,
        model: str,
        fitted: Any,
        *,
        example: Any = None,
        target: str | None = None,
        holdout: Any = None,
        trust: bool = False,
    ) -> Version:
        """Make a version of a fitted object, or of one in a file, an MLflow model or a bundle (see `Given`)."""
        if is_address(fitted):
            given = Given(
                model=model,
                address=str(fitted),
                example=example,
                target=target,
                holdout=holdout,
                who=settings.who(),
                trust=trust,
            )
            return register_file(self.version_store, self.places, given)
        return register_fitted(self.version_store, model, fitted, example, target, holdout, settings.who())

    def export(self, reference: str, folder: str | Path, form: str = "bundle") -> Path:
        """Write a version to a folder, as a signed ``bundle`` or an ``mlflow`` model."""
        version = self.version_store.get(reference)
        return export(version, self.version_store.folder(version), Path(folder), form)

    def models(self) -> list[str]:
        """The names of all models."""
        return self.version_store.models()

    def versions(self, model: str, limit: int = 1_000, before: int | None = None) -> list[Version]:
        """The versions of a model, newest first; those before a number, for the next page."""
        return self.version_store.list(model, limit, before)

    def version(self, reference: str) -> Version:
        """One version: ``m@3``, or ``m`` for the live one."""
        return self.version_store.get(reference)

    def certify(self, reference: str) -> Certificate:
        """Run a version's certificate again over the forms installed here."""
        return self.version_store.certify(reference, settings.who())

    def promote(self, reference: str, alias: str = "live", why: str = "asked for") -> Version:
        """Point an alias at a version that passed its gate and its certificate."""
        return self.promotions.promote(reference, alias, settings.who(), why)

    def approve(self, reference: str, word: str = "") -> Version:
        """Approve a version that another person asked to make live; it becomes live."""
        return self.promotions.approve(reference, settings.who(), word)

    def approvals_waiting(self) -> list[Approval]:
        """The requests for approval that wait."""
        return self.approvals.list(pending=True)

    def rollback(self, model: str, why: str = "asked for") -> Version:
        """Point `live` back at the version before."""
        return self.promotions.rollback(model, settings.who(), why)

    def predict(self, reference: str, rows: Any) -> pl.DataFrame:
        """Answers to rows (a frame, row objects, a path): `prediction`, and `probability.<class>` of classifiers."""
        version = self.version_store.get(reference)
        scorer = self.version_store.open(version, threads=os.cpu_count() or 1)
        if isinstance(rows, dict) or (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
            decoded = RowDecoder(scorer.schema, sys.maxsize).convert([rows] if isinstance(rows, dict) else rows)
            return answers_frame(scorer.answer(decoded.columns, decoded.count), scorer.classes)
        frame = refuse_infinite(conform(to_polars(rows, text=True), scorer.schema), scorer.schema)
        return answers_frame(scorer.arrays(columns_of(frame, scorer.schema), frame.height), scorer.classes)

    def record_outcomes(self, table: Any) -> int:
        """Keep outcomes: `prediction_id` or key columns, `outcome`, and `time`."""
        return self.tables.accept_outcomes(table, self.clock())

    def trace(self, prediction: str, *, replay: bool = False) -> dict[str, Any]:
        """Everything behind one prediction; with `replay` also what its version says to the captured input now."""
        found = trace(prediction, self.tables, self.version_store, self.promotions, self.run_store.get)
        return {**found, "replay": replayed(found, self.version_store)} if replay else found

    def status(self, model: str, *, drift: bool = True) -> dict[str, Any]:
        """The loop of a model as it stands, and who calls it; `drift` looks at its project and at what was deployed."""
        return {
            **loop_status(self.loop_rooms(), model),
            "consumers": [msgspec.to_builtins(one) for one in self.consumers() if one.model == model],
            "scoring": msgspec.to_builtins(self.scoring()),
            "drift": msgspec.to_builtins(self.drift(model)) if drift else [],
            "untold": [
                {"kind": one.kind, "subject": one.subject, "error": one.error, "given_up": one.given_up is not None}
                for one in self.notices(model)
                if one.error
            ],
        }

    def drift(self, model: str) -> list[Change]:
        """Where what stands elsewhere is otherwise than the workspace says: a model's project, where its folder can be
        reached, and the files of what was deployed."""
        kept = self.starter.kept().get(model)
        root = Path(kept.root) if kept is not None and kept.root else None
        found: list[Change] = []
        if kept is not None and root is not None and (root / FILE).exists():
            try:
                found = self.starter.changes(read_project(root), {model: kept})
            except HeadraceError as error:
                found = [Change(model=model, what=FILE, before="", after=error.text)]
        return [one for one in found if one.model == model] + self.deployer.drift(model)

    def progress(self, model: str) -> dict[str, Any]:
        """How far the loop is, cheaply: the end of the last closed window, runs and rollout under way."""
        return loop_progress(self.loop_rooms(), model)

    def audit(self, limit: int = 50, subject: str | None = None) -> list[AuditEntry]:
        """The newest entries of the audit log."""
        return self.audit_log.entries(limit, subject)

    def verify_audit(self) -> AuditReport:
        """Walk the audit chain and hold it against the signed head."""
        return self.audit_log.verify()

    def export_audit(self, folder: str | Path) -> int:
        """Write the audit log to a new folder, with a script that verifies it without Headrace; gives its length."""
        return self.audit_log.export(Path(folder))

    def trust_key(self, file: str | Path) -> PublicKey:
        """Trust the bundles of another registry, whose public key is in `file`; gives the key."""
        return add_trusted(self.places, self.audit_log, Path(file), settings.who())

    def garbage(self, older: timedelta = OLD) -> list[Freed]:
        """What nothing refers to, and `gc` would free."""
        return self.collector.plan(older)

    def gc(self, older: timedelta = OLD) -> list[Freed]:
        """Free what nothing refers to, and say what was freed."""
        return self.collector.collect(settings.who(), older)

    def verify(self) -> list[str]:
        """What is wrong with this workspace, in words: its audit chain, every bundle, every snapshot."""
        return problems_of(self.audit_log, self.version_store, self.snapshots, self.tables.problems)

    def copy(self, target: str | Path, progress: CopyProgress | None = None) -> Copied:
        """Copy this workspace to a new place, a folder or an address, and verify the copy.

        From folder to folder the source may be running, and a copy that was interrupted goes on; otherwise no run may
        be under way.
        """
        there = settings.workspace_places(target)
        with self.tables.still():
            if self.places.embedded and there.embedded:
                return copy_workspace(self.places, there.root, lambda root: _problems_at(Places(root)), progress)
            if there.embedded:
                need_empty(there.root)
            there.root.mkdir(parents=True, exist_ok=True)
            database = open_database(there.database)
            try:
                return move_workspace((self.places, self.database), (there, database), _problems_at, progress)
            finally:
                database.close()

    def hold(self, digest: str, why: str = "asked for") -> Hold:
        """Keep a snapshot whatever `gc` finds."""
        return self.snapshots.hold(digest, settings.who(), why)

    def release(self, digest: str) -> None:
        """End a hold."""
        self.snapshots.release(digest, settings.who())

    def diff_data(self, first: str, second: str) -> TableDifference:
        """What changed from one snapshot of a dataset to another."""
        return self.snapshots.compare(first, second)

    def assess(
        self,
        data: Any,
        target: str,
        *,
        time: str | None = None,
        key: tuple[str, ...] = (),
        progress: Callable[[str], None] | None = None,
    ) -> Assessment:
        """Whether data (a frame, a file, or a snapshot by its digest) are enough to predict `target`."""
        if isinstance(data, str) and not Path(data).exists():
            snapshot = self.snapshots.get(data)
            frame = self.snapshots.read(snapshot)
            named = {role: [c.name for c in snapshot.schema.having(role)] for role in ("time", "key")}
            time, key = time or next(iter(named["time"]), None), key or tuple(named["key"])
        else:
            frame = storable(to_polars(data))
        return assess(frame, infer_schema(frame, frame, keys=key, time=time, target=target), target, progress=progress)

    def versions_on(self, snapshot: str) -> list[str]:
        """The versions that were trained on a snapshot."""
        return self.version_store.of_snapshot(snapshot)

    def evidence(self, reference: str) -> dict[str, str]:
        """What a version shows for itself, as files by name: card, bill of materials, provenance, scores, proofs."""
        return evidence(self.loop_rooms(), self.proof_store, self.signer, self.version(reference).reference)

    def lineage(self, subject: str) -> Graph:
        """Where a version, a model's versions, or all that was made of a snapshot come from, and where they went."""
        return lineage_graph(self.loop_rooms(), subject)

    def forget(self, /, **key: Any) -> Forgotten:
        """Erase the captured predictions whose key columns have these values, and their outcomes."""
        return forget(self.tables, self.places, self.audit_log, settings.who(), key)

    def expire(self) -> int:
        """Erase the predictions that were captured longer ago than their models keep them; gives how many."""
        policies = {model: kept_policy(self.database, model) for model in self.models()}
        keep = {model: parse_duration(p.settings.capture.keep if p else KEPT) for model, p in policies.items()}
        return expire(self.tables, self.audit_log, self.clock, keep)

    def scoring(self) -> ScoringCounts:
        """How many scoring processes answer, and what they captured and dropped within a day."""
        return scoring_counts(self.scorer_files())

    def runs(self, model: str | None = None, limit: int = 50, words: str = "") -> list[Run]:
        """The newest runs, those that know each of the `words`."""
        return self.run_store.list(model, limit=limit, words=words)

    def search(
        self, words: str = "", *, model: str | None = None, where: Iterable[str] = (), limit: int = 50
    ) -> list[Hit]:
        """The newest versions that know each of the words and keep each condition, such as ``roc_auc>0.7``."""
        return search_versions(self.database, words, model, where, limit)

    def diff(self, first: str, second: str) -> list[Difference]:
        """Two versions (``m@2``, ``m@live``), or two runs by their ids, side by side."""
        if "@" not in first or "@" not in second:
            return compare_runs(self._run_of(first), self._run_of(second))
        sides = [self._side(name) for name in (first, second)]
        snapshots = [side.version.lineage.snapshot for side in sides]
        changed = all(snapshots) and snapshots[0] != snapshots[1]
        note = self.snapshots.compare(*snapshots).text() if changed else ""
        return compare_versions(sides[0], sides[1], note)

    def _side(self, name: str) -> Side:
        version = self._named(name)
        return Side(version, self.version_store.folder(version), self.version_store.open(version))

    def _named(self, name: str) -> Version:
        """A version by its number, or the live one: ``m@live``."""
        model, _, alias = name.partition("@")
        if alias != LIVE:
            return self.version(name)
        live = next((version for version in self.versions(model) if LIVE in version.aliases), None)
        if live is None:
            raise NotFound(f"No version of {model} is live.", todo=f"Promote one: headrace promote {model}@N.")
        return live

    def _run_of(self, name: str) -> Run:
        return self.run_store.get(self.version(name).lineage.run if "@" in name else name)


def _problems_at(places: Places) -> list[str]:
    """What is wrong with a workspace; its routes are published."""
    ws = Workspace(places, utc_now)
    try:
        ws.promotions.publish()
        return ws.verify()
    finally:
        ws.close()
