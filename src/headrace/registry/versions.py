"""Registering versions and finding them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.compiler.certificate import Form, certify
from headrace.compiler.golden import Golden, answers_frame, rows_frame, stored_columns
from headrace.compiler.making import make
from headrace.kernel import tables
from headrace.kernel.clock import Clock, to_text
from headrace.kernel.database import Database
from headrace.kernel.errors import NotFound
from headrace.kernel.identifiers import check_name, new_id, parse_reference
from headrace.kernel.places import Places
from headrace.kernel.ports import Answers, Columns
from headrace.kernel.records import Certificate, Evaluation, GateResult, Lineage, Record, Runtime, Task, Version
from headrace.kernel.release import VERSION
from headrace.kernel.schema import Scalar, Schema
from headrace.registry.bundles import Draft, drafting, keep
from headrace.registry.environment import Environment, requirements
from headrace.runtimes import bundle as layout

Forms = Callable[[Path, str], AbstractContextManager[Mapping[str, Form]]]


class Registration(Record, frozen=True, kw_only=True):
    """All that makes a version: the fitted object, its contract, and the evidence that came with it.

    `example` holds `example_rows` rows of the features, as columns.
    """

    model: str
    fitted: Any
    schema: Schema
    task: Task
    classes: tuple[Scalar, ...]
    example: Columns
    example_rows: int
    params: dict[str, Any]
    lineage: Lineage
    environment: Environment
    evaluation: Evaluation | None = None
    gate: GateResult | None = None
    monitor: bytes | None = None
    code: Path | None = None
    who: str


class Versions:
    """The versions of a workspace. `forms` opens the forms of a bundle for certification."""

    def __init__(self, places: Places, database: Database, audit: AuditLog, clock: Clock, forms: Forms) -> None:
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock
        self._forms = forms

    def register(self, registration: Registration) -> Version:
        """Make a version: golden rows, bundle, certificate, entry. The same run again gives the same version.

        Raises:
            InvalidName: the model's name is not good.
            InvalidInput: the fitted object cannot be stored, or answers no row of the example.
            StorageUnavailable: the disk is full or may not be written; nothing was registered.
        """
        check_name(registration.model)
        standing = self._of_run(registration.lineage.run)
        if standing is not None:
            return standing
        with drafting(self._places.staging) as draft:
            manifest = self._fill(draft, registration)
            certificate = self._certify(draft.folder, draft.seal(manifest), manifest.runtime)
            draft.put("evidence/certificate.json", msgspec.json.encode(certificate))
            with self._audit.change() as change:
                version = self._enter(change, draft, manifest, registration, certificate)
        return version

    def certify(self, reference: str, who: str) -> Certificate:
        """Run the certificate again over the forms installed here, and keep it.

        Raises:
            NotFound: there is no such version.
            NotTrusted: its bundle was altered.
        """
        version = self.get(reference)
        certificate = self._certify(self._places.bundles / version.digest, version.digest, version.runtime)
        with self._audit.change() as change:
            _keep_certificate(change.connection, version.name, version.number, certificate)
            change.entry(who, "certify", version.reference, passed=certificate.passed, rows=certificate.rows)
        return certificate

    def get(self, reference: str) -> Version:
        """The version that ``m@3`` names, or for ``m`` the live one, else the newest.

        Raises:
            NotFound: there is none.
        """
        model, number = parse_reference(reference)
        found = self.list(model)
        live = next((v for v in found if "live" in v.aliases), None)
        newest = found[0] if found else None
        chosen = (live or newest) if number is None else next((v for v in found if v.number == number), None)
        if chosen is None:
            known = ", ".join(v.reference for v in found[:5]) or "none of this model"
            raise NotFound(
                f"There is no version {reference!r}; there are: {known}.",
                todo="See 'headrace models', or make one with 'headrace run' or 'headrace register'.",
            )
        return chosen

    def list(self, model: str) -> list[Version]:
        """The versions of a model, newest first, with their aliases and newest certificates."""
        with self._database.read() as connection:
            return _load(connection, tables.versions.c.model == model)

    def models(self) -> list[str]:
        """The names of all models, in order."""
        with self._database.read() as connection:
            return list(connection.execute(sa.select(tables.models.c.name).order_by(tables.models.c.name)).scalars())

    def _of_run(self, run: str) -> Version | None:
        with self._database.read() as connection:
            found = _load(connection, tables.versions.c.run == run)
        return found[0] if found else None

    def _fill(self, draft: Draft, it: Registration) -> layout.Manifest:
        made = make(it.fitted, it.schema, it.task, it.classes, it.example, it.example_rows)
        for name, content in made.files.items():
            draft.put(name, content)
        _put_golden(draft, made.golden, it)
        draft.put(layout.SCHEMA, msgspec.json.encode(it.schema))
        draft.put("environment/environment.json", msgspec.json.encode(it.environment))
        draft.put("environment/requirements.txt", requirements(it.environment).encode())
        draft.put("evidence/evaluation.json", msgspec.json.encode(it.evaluation))
        draft.put("evidence/gate.json", msgspec.json.encode(it.gate))
        if it.monitor is not None:
            draft.put(layout.MONITOR, it.monitor)
        if it.code is not None:
            draft.put_tree("code", it.code)
        return layout.Manifest(
            name=it.model,
            version=0,
            runtime=made.runtime,
            uncompiled=made.uncompiled,
            task=it.task,
            classes=it.classes,
            lineage=it.lineage,
            params=it.params,
            created=self._clock(),
            headrace=VERSION,
            files={},
        )

    def _certify(self, folder: Path, digest: str, runtime: Runtime) -> Certificate:
        golden = _stored_golden(folder)
        with self._forms(folder, digest) as forms:
            return certify(golden, forms, runtime, self._clock)

    def _enter(
        self, change: Recorded, draft: Draft, manifest: layout.Manifest, it: Registration, certificate: Certificate
    ) -> Version:
        at = tables.versions.c
        newest = change.connection.execute(sa.select(sa.func.max(at.number)).where(at.model == it.model)).scalar()
        number = (newest or 0) + 1
        digest = draft.seal(msgspec.structs.replace(manifest, version=number))
        keep(draft, self._places.bundles, digest)
        version = Version(
            name=it.model,
            number=number,
            runtime=manifest.runtime,
            uncompiled=manifest.uncompiled,
            task=it.task,
            digest=digest,
            schema=it.schema,
            metrics=it.evaluation.metrics if it.evaluation else {},
            slices=it.evaluation.slices if it.evaluation else (),
            gate=it.gate,
            certificate=certificate,
            lineage=it.lineage,
            created=manifest.created,
            created_by=it.who,
        )
        ensure_model(change.connection, it.model, manifest.created)
        change.connection.execute(tables.versions.insert().values(_version_row(version)))
        _keep_certificate(change.connection, it.model, number, certificate)
        change.entry(
            it.who,
            "register",
            version.reference,
            digest=digest,
            run=it.lineage.run,
            snapshot=it.lineage.snapshot,
            gate=None if it.gate is None else it.gate.passed,
            certificate=certificate.passed,
        )
        return version


def _put_golden(draft: Draft, golden: Golden, it: Registration) -> None:
    frames = {
        layout.GOLDEN_ROWS: rows_frame(it.schema, golden.columns),
        layout.GOLDEN_OUTPUTS: answers_frame(golden.answers, it.classes),
        layout.GOLDEN_REFUSED: rows_frame(it.schema, golden.refused),
    }
    for name, frame in frames.items():
        (draft.folder / name).parent.mkdir(exist_ok=True)
        frame.write_ipc(draft.folder / name)


def _stored_golden(folder: Path) -> Golden:
    columns = stored_columns(pl.read_ipc(folder / layout.GOLDEN_ROWS))
    outputs = pl.read_ipc(folder / layout.GOLDEN_OUTPUTS)
    refused = pl.read_ipc(folder / layout.GOLDEN_REFUSED)
    shares = outputs.drop("prediction")
    probabilities = [list(row) for row in shares.rows()] if shares.width else None
    answers = Answers(outputs["prediction"].to_list(), probabilities)
    return Golden(columns, outputs.height, answers, stored_columns(refused), refused.height)


def ensure_model(connection: sa.Connection, model: str, created: Any) -> None:
    """The model's row, made if it is not there."""
    row = {"name": model, "created": to_text(created), "code": "", "root": ""}
    connection.execute(sa.insert(tables.models).prefix_with("OR IGNORE").values(row))


def _version_row(version: Version) -> dict[str, Any]:
    bare = msgspec.structs.replace(version, certificate=None)
    return {
        "model": version.name,
        "number": version.number,
        "digest": version.digest,
        "run": version.lineage.run,
        "gate_passed": None if version.gate is None else version.gate.passed,
        "document": msgspec.json.encode(bare).decode(),
        "created": to_text(version.created),
    }


def _keep_certificate(connection: sa.Connection, model: str, number: int, certificate: Certificate) -> None:
    document = msgspec.json.encode(certificate).decode()
    row = {"id": new_id(), "model": model, "number": number, "passed": certificate.passed, "document": document}
    connection.execute(tables.certificates.insert().values(row))


def _load(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Version]:
    rows = connection.execute(sa.select(tables.versions).where(where).order_by(tables.versions.c.number.desc())).all()
    models = {row.model for row in rows}
    aliases: dict[tuple[str, int], list[str]] = {}
    for row in connection.execute(sa.select(tables.aliases).where(tables.aliases.c.model.in_(models))):
        aliases.setdefault((row.model, row.number), []).append(row.alias)
    at = tables.certificates.c
    newest = {
        (row.model, row.number): row.document
        for row in connection.execute(sa.select(tables.certificates).where(at.model.in_(models)).order_by(at.id))
    }
    return [
        msgspec.structs.replace(
            msgspec.json.decode(row.document, type=Version),
            aliases=tuple(sorted(aliases.get((row.model, row.number), []))),
            certificate=msgspec.json.decode(newest[row.model, row.number], type=Certificate),
        )
        for row in rows
    ]
