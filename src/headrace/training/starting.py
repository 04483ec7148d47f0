"""Starting runs: the project's code and policy are kept, the run is entered, and the workers are told."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.clock import Clock
from headrace.kernel.database import Database
from headrace.kernel.digests import canonical
from headrace.kernel.errors import InvalidInput, NotFound, StorageUnavailable
from headrace.kernel.identifiers import new_id
from headrace.kernel.places import Places
from headrace.kernel.records import Version
from headrace.registry.routing import advance_generation, publish, served
from headrace.registry.versions import ensure_model
from headrace.training import durable
from headrace.training.applying import Change, Kept, changes
from headrace.training.code import commit_of, keep_code, source_digests
from headrace.training.policies import kept_policy
from headrace.training.project import Policy, Project, read_project
from headrace.training.runs import Asked, Runs

MOST_TRIALS = 200


class Starter:
    """Starts the runs of a workspace."""

    def __init__(self, places: Places, database: Database, audit: AuditLog, clock: Clock, runs: Runs) -> None:
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock
        self._runs = runs

    def from_project(
        self,
        folder: Path,
        model: str | None,
        params: dict[str, Any],
        sweep: dict[str, list[Any]],
        who: str,
        reason: str,
        sample: int = 0,
    ) -> str:
        """Start a run of a project as it is now; its policy becomes the model's. Gives the run's id.

        Raises:
            InvalidProject: headrace.toml is wrong.
            InvalidInput: the sweep is empty or too large.
        """
        project = read_project(folder)
        policy = project.policy(model)
        trials = list(itertools.product(*sweep.values()))
        if sweep and not 1 <= len(trials) <= MOST_TRIALS:
            raise InvalidInput(
                f"The sweep has {len(trials)} trials.", expected=f"1 to {MOST_TRIALS}", todo="Name fewer values."
            )
        code = keep_code(project.root, self._places.code)
        self._places.objects.share(self._places.code / code)
        asked = Asked(
            policy=policy,
            kind="sweep" if sweep else "train",
            params=params,
            sweep=sweep,
            reason=reason,
            who=who,
            code=code,
            root=str(project.root),
            commit=commit_of(project.root),
            project=project.name,
            sample=sample,
        )
        self._keep_policy(policy, code, str(project.root), who)
        return self._enter(asked, new_id())

    def kept(self) -> dict[str, Kept]:
        """What the workspace keeps of each model's project."""
        at = tables.models.c
        with self._database.read() as connection:
            rows = connection.execute(sa.select(at.name, at.policy, at.code, at.root)).all()
        return {row.name: Kept(row.policy, row.code, row.root) for row in rows}

    def changes(self, project: Project, models: Mapping[str, Kept] | None = None) -> list[Change]:
        """Where a project is otherwise than what the workspace keeps, of all models or of some."""
        return changes(project, self.kept() if models is None else models, self._files)

    def _files(self, code: str) -> dict[str, str]:
        return source_digests(self._places.objects.need(self._places.code / code)) if code else {}

    def apply(self, project: Project, who: str) -> list[Change]:
        """Bring a project's policies and code into the workspace, without a run; gives what was changed by it."""
        found = self.changes(project)
        code = keep_code(project.root, self._places.code)
        self._places.objects.share(self._places.code / code)
        kept = self.kept()
        for model in project.models:
            if model not in kept or kept[model].code != code or any(change.model == model for change in found):
                self._keep_policy(project.policy(model), code, str(project.root), who)
        return found

    def again(self, model: str, reason: str, who: str, run: str, only_if_changed: bool = False) -> str:
        """Start a run of a model by its kept policy and code, on the data as it is now; `only_if_changed` ends it where
        that is what the newest version was trained on.

        Raises:
            NotFound: the model was never run from a project.
        """
        at = tables.models.c
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.models).where(at.name == model)).first()
        if row is None or not row.policy:
            raise NotFound(
                f"{model} was not made by a project, so it cannot be run again.", todo="Run it from a project."
            )
        policy = msgspec.convert(row.policy, Policy)
        asked = Asked(
            policy=policy, reason=reason, who=who, code=row.code, root=row.root, only_if_changed=only_if_changed
        )
        return self._enter(asked, run)

    def prove(self, version: Version, params: dict[str, Any], who: str, reason: str) -> str:
        """Start the proof of a version (see `prove.ProveOptions`); gives the run's id.

        Raises:
            NotFound: the version was not made by a project.
        """
        policy = kept_policy(self._database, version.name)
        if policy is None:
            raise NotFound(
                f"{version.name} was not made by a project, so nothing says how it was trained.",
                todo="Put the training into a project ('headrace init DIR') and run it; that version can be proved.",
            )
        lineage = version.lineage
        asked = Asked(policy=policy, kind="prove", params=params, reason=reason, who=who, code=lineage.code, root="")
        return self._enter(asked, new_id())

    def deploy(self, version: Version, targets: list[str], who: str, reason: str, run: str) -> str:
        """Start putting a version on targets of its project, one after the other; gives the run's id.

        Raises:
            NotFound: the version was not made by a project, or its project has no such target.
        """
        at = tables.models.c
        with self._database.read() as connection:
            row = connection.execute(sa.select(tables.models).where(at.name == version.name)).first()
        policy = msgspec.convert(row.policy, Policy) if row is not None and row.policy else None
        for target in targets:
            if policy is None or target not in policy.targets:
                raise NotFound(
                    f"The project of {version.name} puts it on no target {target!r}.",
                    expected=", ".join(policy.targets if policy else ()) or "a project with [model.NAME.deploy]",
                    todo=f"Name it in [model.{version.name}.deploy], and say 'headrace apply'.",
                )
        assert policy is not None and row is not None
        params = {"version": version.reference, "targets": targets}
        asked = Asked(policy=policy, kind="deploy", params=params, reason=reason, who=who, code=row.code, root=row.root)
        return self._enter(asked, run)

    def reconcile(self) -> None:
        """Hand over again what was entered and, after a crash, not handed over."""
        for run in self._runs.unfinished():
            path = self._places.objects.need(self._document(run.id))
            if run.status == "queued" and not run.parent and path.exists():
                durable.enqueue(self._places, run.id, msgspec.json.decode(path.read_bytes(), type=Asked))

    def _enter(self, asked: Asked, run: str) -> str:
        path = self._document(run)
        try:
            self._places.objects.put(path, msgspec.json.encode(asked))
        except StorageUnavailable as error:
            raise StorageUnavailable(f"The run cannot be entered: {error.text}", todo=error.todo) from error
        self._runs.add(asked, run=run)
        durable.enqueue(self._places, run, asked)
        return run

    def _document(self, run: str) -> Path:
        return self._places.runs / run / "asked.json"

    def _keep_policy(self, policy: Policy, code: str, root: str, who: str) -> None:
        at = tables.models.c
        document = msgspec.to_builtins(policy)
        with self._audit.change() as change:
            ensure_model(change.connection, policy.model, self._clock())
            here = at.name == policy.model
            before = change.connection.execute(sa.select(tables.models).where(here)).one()
            if canonical(before.policy) != canonical(document):
                change.entry(who, "policy", policy.model, policy=document)
            elif before.code != code:
                change.entry(who, "code", policy.model, code=code)
            moved = served(before.policy) != served(document)
            if moved:
                advance_generation(change.connection)
            change.connection.execute(tables.models.update().where(here).values(policy=document, code=code, root=root))
        if moved:
            publish(self._database, self._places)
