"""The record of runs: what was asked, which steps were done by whom, and what was found."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog
from headrace.kernel import tables
from headrace.kernel.clock import Clock, from_text, to_text
from headrace.kernel.database import Database, add_if_absent
from headrace.kernel.errors import NotFound
from headrace.kernel.identifiers import new_id
from headrace.kernel.records import Evaluation, GateResult, Run, Step
from headrace.training.project import Policy


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is asked for; its id makes asking twice the same as asking once. `sample` is the number of rows that
    go through the pipeline, 0 for all."""

    policy: Policy
    kind: str = "train"
    params: dict[str, Any] = {}
    reason: str
    who: str
    code: str
    root: str
    commit: str = ""
    project: str = ""
    sweep: dict[str, list[Any]] = {}
    live: str | None = None
    only_if_changed: bool = False
    sample: int = 0


class Runs:
    """The runs of a workspace."""

    def __init__(self, database: Database, audit: AuditLog, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    def add(self, asked: Asked, parent: str = "", run: str | None = None) -> str:
        """Enter a run as queued and give its id; a run of that id that stands is left as it is."""
        run = run or new_id()
        row = {
            "id": run,
            "model": asked.policy.model,
            "kind": asked.kind,
            "status": "queued",
            "params": asked.params
            if asked.kind in ("prove", "deploy")
            else {**asked.policy.settings.params, **asked.params},
            "reason": asked.reason,
            "created_by": asked.who,
            "created": to_text(self._clock()),
            "parent": parent,
            "code": asked.code,
            "root": asked.root,
            "snapshot": "",
        }
        facts = [run, asked.policy.model, asked.reason, asked.who, asked.code]
        row["words"] = " ".join([*facts, *(f"{name}={value}" for name, value in row["params"].items())]).lower()
        with self._audit.change() as change:
            if add_if_absent(change.connection, tables.runs, row):
                change.entry(
                    asked.who, "run", asked.policy.model, run=run, kind=asked.kind, why=asked.reason, code=asked.code
                )
        return run

    def update(self, run: str, **values: Any) -> None:
        """Set fields of a run; records among them are stored as JSON."""
        encoded = {
            name: msgspec.json.encode(v).decode() if isinstance(v, msgspec.Struct) else v for name, v in values.items()
        }
        with self._database.write() as connection:
            connection.execute(tables.runs.update().where(tables.runs.c.id == run).values(encoded))

    def begin(self, run: str) -> None:
        """Mark a run as running; the moment of its first start stays."""
        at = tables.runs.c
        values = {"status": "running", "started": sa.func.coalesce(at.started, to_text(self._clock()))}
        with self._database.write() as connection:
            connection.execute(tables.runs.update().where(at.id == run).values(values))

    def end(self, run: str, status: str, error: dict[str, Any] | None = None) -> None:
        """Mark a run as ended."""
        self.update(run, status=status, ended=to_text(self._clock()), error=error)

    def begin_step(self, run: str, name: str, position: int, worker: str) -> dict[str, Any] | None:
        """Mark a step as running; if it was finished before, give what it made, and change nothing."""
        at = tables.run_steps.c
        here = (at.run == run) & (at.name == name)
        with self._database.write() as connection:
            row = connection.execute(sa.select(tables.run_steps).where(here)).first()
            if row is not None and row.status == "done":
                return row.result
            values = {
                "status": "running",
                "started": to_text(self._clock()),
                "worker": worker,
                "ended": None,
                "attempts": (row.attempts if row else 0) + 1,
                "note": "",
            }
            if row is None:
                connection.execute(tables.run_steps.insert().values(run=run, name=name, position=position, **values))
            else:
                connection.execute(tables.run_steps.update().where(here).values(values))
        return None

    def end_step(self, run: str, name: str, result: dict[str, Any], note: str) -> None:
        """Mark a step as done, with what it made."""
        self._close_step(run, name, status="done", result=result, note=note)

    def fail_step(self, run: str, name: str, note: str) -> None:
        """Mark a step as failed."""
        self._close_step(run, name, status="failed", result=None, note=note)

    def _close_step(self, run: str, name: str, **values: Any) -> None:
        at = tables.run_steps.c
        with self._database.write() as connection:
            closed = tables.run_steps.update().where(at.run == run, at.name == name)
            connection.execute(closed.values(ended=to_text(self._clock()), **values))

    def get(self, run: str) -> Run:
        """The run with this id, or the one whose id begins or ends with it.

        Raises:
            NotFound: none, or several.
        """
        at = tables.runs.c.id
        matching = at.startswith(run, autoescape=True) | at.endswith(run, autoescape=True)
        with self._database.read() as connection:
            exactly = self._load(connection, sa.select(tables.runs).where(at == run))
            found = exactly or self._load(connection, sa.select(tables.runs).where(matching).limit(2))
        if len(found) != 1:
            raise NotFound(
                f"{'No run' if not found else 'More than one run'} has the id {run!r}.",
                todo="List them: headrace runs.",
            )
        return found[0]

    def list(
        self,
        model: str | None = None,
        *,
        limit: int = 50,
        parent: str | None = None,
        words: str = "",
        made: bool = False,
        reason: str = "",
    ) -> list[Run]:
        """The newest runs first; with `words` those whose id, reason, maker, code or parameters hold each, with `made`
        those that made a version, with `reason` those whose reason begins so."""
        query = sa.select(tables.runs).order_by(tables.runs.c.id.desc()).limit(limit)
        if model is not None:
            query = query.where(tables.runs.c.model == model)
        if parent is not None:
            query = query.where(tables.runs.c.parent == parent)
        if made:
            query = query.where(tables.runs.c.version.is_not(None))
        if reason:
            query = query.where(tables.runs.c.reason.startswith(reason, autoescape=True))
        for word in words.lower().split():
            query = query.where(tables.runs.c.words.contains(word, autoescape=True))
        with self._database.read() as connection:
            return self._load(connection, query)

    def known(self, run: str) -> bool:
        """Whether there is a run of exactly this id."""
        with self._database.read() as connection:
            return connection.execute(sa.select(tables.runs.c.id).where(tables.runs.c.id == run)).first() is not None

    def unfinished(self) -> list[Run]:
        """The runs that are queued or running."""
        query = sa.select(tables.runs).where(tables.runs.c.status.in_(["queued", "running"]))
        with self._database.read() as connection:
            return self._load(connection, query)

    def _load(self, connection: sa.Connection, query: Any) -> list[Run]:
        rows = connection.execute(query).all()
        at = tables.run_steps.c
        steps: dict[str, list[Step]] = {}
        for row in connection.execute(
            sa.select(tables.run_steps).where(at.run.in_([r.id for r in rows])).order_by(at.position)
        ):
            steps.setdefault(row.run, []).append(_step(row))
        return [_run(row, tuple(steps.get(row.id, ()))) for row in rows]


def _moment(text: str | None) -> Any:
    return from_text(text) if text else None


def _step(row: Any) -> Step:
    return Step(
        name=row.name,
        status=row.status,
        started=from_text(row.started),
        ended=_moment(row.ended),
        worker=row.worker,
        attempts=row.attempts,
        note=row.note,
    )


def _run(row: Any, steps: tuple[Step, ...]) -> Run:
    return Run(
        id=row.id,
        model=row.model,
        kind=row.kind,
        status=row.status,
        params=row.params,
        reason=row.reason,
        created_by=row.created_by,
        created=from_text(row.created),
        started=_moment(row.started),
        ended=_moment(row.ended),
        parent=row.parent,
        code=row.code,
        snapshot=row.snapshot,
        version=row.version,
        evaluation=msgspec.json.decode(row.evaluation, type=Evaluation) if row.evaluation else None,
        gate=msgspec.json.decode(row.gate, type=GateResult) if row.gate else None,
        error=row.error,
        steps=steps,
    )
