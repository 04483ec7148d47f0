"""Registering versions and finding them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.log import AuditLog, Recorded
from headrace.audit.signing import Signer
from headrace.compiler.certificate import Form, certify
from headrace.compiler.golden import stored_golden
from headrace.kernel import tables
from headrace.kernel.clock import Clock, to_text
from headrace.kernel.database import Database, add_if_absent
from headrace.kernel.errors import NotFound
from headrace.kernel.identifiers import check_name, new_id, parse_reference
from headrace.kernel.places import Places
from headrace.kernel.ports import Scorer
from headrace.kernel.records import Certificate, Lineage, Runtime, Version
from headrace.registry.bundles import Draft, drafting, keep, share_files
from headrace.registry.filling import Filled, Registration, fill
from headrace.registry.search import words_of
from headrace.registry.signatures import Trust, open_trust, sign_bundle
from headrace.runtimes.bundle import SIGNATURE, Manifest, verify_bundle
from headrace.runtimes.opening import open_bundle

More = AbstractContextManager[Mapping[str, Form]]
Forms = Callable[[Path, str], More]
PAGE = 1_000
ALIKE = 20
"""How many earlier versions are looked at for files that a new one has too."""


class Versions:
    """The versions of a workspace. `forms` opens the forms of a bundle for certification; `signer` signs bundles."""

    def __init__(
        self, places: Places, database: Database, audit: AuditLog, clock: Clock, forms: Forms, signer: Signer
    ) -> None:
        self._places = places
        self._database = database
        self._audit = audit
        self._clock = clock
        self._forms = forms
        self._signer = signer

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
            filled = fill(draft, registration, self._clock)
            return self.enter(draft, filled, registration.who)

    def enter(
        self,
        draft: Draft,
        filled: Filled,
        who: str,
        trusted: Mapping[str, Any] | None = None,
        came: Mapping[str, Any] | None = None,
    ) -> Version:
        """Make a version of a draft that was filled: certificate, signature, entry.

        Args:
            trusted: what the operator gave their word for, where they did; it is recorded.
            came: from which file or bundle it was made; it is recorded.

        Raises:
            StorageUnavailable: the disk is full or may not be written; nothing was registered.
        """
        manifest = filled.manifest
        certificate = self._certify(draft.folder, draft.seal(manifest), manifest.runtime)
        draft.put("evidence/certificate.json", msgspec.json.encode(certificate))
        offered = self._offer(draft, manifest)
        with self._audit.change() as change:
            version = self._enter(change, draft, filled, certificate, who, came or {}, offered)
            if trusted is not None:
                change.entry(who, "trust", version.reference, **trusted)
        return version

    def _offer(self, draft: Draft, manifest: Manifest) -> str:
        """Upload a bundle under the number that it will have unless somebody is quicker, while nobody waits for it.

        Gives its digest; empty where nothing is to be uploaded. `gc` frees one that becomes no version, a day later.
        """
        if not self._places.objects.remote:
            return ""
        with self._database.read() as connection:
            digest = self._seal(draft, manifest, _newest(connection, manifest.name) + 1)
        for file in sorted(path for path in draft.folder.rglob("*") if path.is_file()):
            self._places.objects.take(file, self._places.bundles / digest / file.relative_to(draft.folder))
        return digest

    def _seal(self, draft: Draft, manifest: Manifest, number: int) -> str:
        """Seal and sign a draft under a number; gives the digest, which is the same for the same number."""
        (draft.folder / SIGNATURE).unlink(missing_ok=True)
        digest = draft.seal(msgspec.structs.replace(manifest, version=number))
        draft.put(SIGNATURE, sign_bundle(draft.folder, manifest.name, self._signer))
        return digest

    def certify(self, reference: str, who: str, also: More | None = None) -> Certificate:
        """Run the certificate again over the forms installed here, and keep it.

        Args:
            also: gives more forms, as that of a container.

        Raises:
            NotFound: there is no such version.
            NotTrusted: its bundle was altered.
        """
        version = self.get(reference)
        certificate = self._certify(self.folder(version), version.digest, version.runtime, also)
        with self._audit.change() as change:
            _keep_certificate(change.connection, version.name, version.number, certificate)
            change.entry(who, "certify", version.reference, passed=certificate.passed, rows=certificate.rows)
        return certificate

    def folder(self, version: Version) -> Path:
        """Where a version's bundle lies, once its signature and every byte of it hold.

        Raises:
            NotTrusted: it was altered, or is not signed by a trusted key.
        """
        folder = self._bundle(version.digest)
        self._trust().verified(folder, version.digest)
        return folder

    def open(self, version: Version, threads: int = 1) -> Scorer:
        """The scorer of a version; its signature is held against the trusted keys before anything is read.

        Raises:
            NotTrusted: the bundle was altered, or is not signed by a trusted key.
        """
        folder = self._bundle(version.digest)
        self._trust().signed(folder, version.digest)
        return open_bundle(folder, version.digest, threads)

    def _bundle(self, digest: str) -> Path:
        return self._places.objects.need(self._places.bundles / digest)

    def _trust(self) -> Trust:
        self._places.objects.gather(self._places.trusted)
        return open_trust(self._places.signing_public, self._places.trusted)

    def sign_earlier(self) -> int:
        """Sign the bundles that an earlier Headrace, which signed none, registered here; gives their number.

        Raises:
            NotTrusted: one of them is not what its digest says.
        """
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tables.versions.c.digest, tables.versions.c.model)).all()
        signed = 0
        for row in rows:
            folder = self._places.bundles / row.digest
            if folder.is_dir() and not (folder / SIGNATURE).exists():
                verify_bundle(folder, row.digest)
                draft = folder.with_name(f"{row.digest}.signature")
                draft.write_bytes(sign_bundle(folder, row.model, self._signer))
                draft.replace(folder / SIGNATURE)
                signed += 1
        return signed

    def get(self, reference: str) -> Version:
        """The version that ``m@3`` names, or for ``m`` the live one, else the newest.

        Raises:
            NotFound: there is none.
        """
        model, number = parse_reference(reference)
        at, named = tables.versions.c, tables.aliases.c
        with self._database.read() as connection:
            if number is None:
                live = sa.select(named.number).where(named.model == model, named.alias == "live")
                newest = sa.select(sa.func.max(at.number)).where(at.model == model)
                number = connection.execute(live).scalar() or connection.execute(newest).scalar()
            found = _load(connection, sa.select(tables.versions).where(at.model == model, at.number == number))
            if found:
                return found[0]
            known = connection.execute(
                sa.select(at.number).where(at.model == model).order_by(at.number.desc()).limit(5)
            ).scalars()
            there = ", ".join(f"{model}@{one}" for one in known) or "none of this model"
        raise NotFound(
            f"There is no version {reference!r}; there are: {there}.",
            todo="See 'headrace models', or make one with 'headrace run' or 'headrace register'.",
        )

    def list(self, model: str, limit: int = PAGE, before: int | None = None) -> list[Version]:
        """The versions of a model, newest first, with their aliases and newest certificates.

        Args:
            before: only versions with smaller numbers, for the next page.
        """
        at = tables.versions.c
        query = sa.select(tables.versions).where(at.model == model).order_by(at.number.desc()).limit(limit)
        with self._database.read() as connection:
            return _load(connection, query if before is None else query.where(at.number < before))

    def of_snapshot(self, snapshot: str) -> list[str]:
        """The versions whose runs trained on a snapshot, in the order of their names."""
        at, run = tables.versions.c, tables.runs.c
        query = sa.select(at.model, at.number).join(tables.runs, run.id == at.run).where(run.snapshot == snapshot)
        with self._database.read() as connection:
            return [f"{row.model}@{row.number}" for row in connection.execute(query.order_by(at.model, at.number))]

    def models(self) -> list[str]:
        """The names of all models, in order."""
        with self._database.read() as connection:
            return list(connection.execute(sa.select(tables.models.c.name).order_by(tables.models.c.name)).scalars())

    def _of_run(self, run: str) -> Version | None:
        with self._database.read() as connection:
            found = _load(connection, sa.select(tables.versions).where(tables.versions.c.run == run))
        return found[0] if found else None

    def _certify(
        self,
        folder: Path,
        digest: str,
        runtime: Runtime,
        also: More | None = None,
    ) -> Certificate:
        golden = stored_golden(folder)
        with self._forms(folder, digest) as forms, also or nullcontext({}) as more:
            return certify(golden, {**forms, **more}, runtime, self._clock)

    def _enter(
        self,
        change: Recorded,
        draft: Draft,
        it: Filled,
        certificate: Certificate,
        who: str,
        came: Mapping[str, Any],
        offered: str,
    ) -> Version:
        manifest, at = it.manifest, tables.versions.c
        number = _newest(change.connection, manifest.name) + 1
        digest = self._seal(draft, manifest, number)
        if not self._places.objects.remote:
            query = sa.select(at.digest).where(at.model == manifest.name).order_by(at.number.desc()).limit(ALIKE)
            share_files(draft, [self._places.bundles / one for one in change.connection.execute(query).scalars()])
        bundle = keep(draft, self._places.bundles, digest)
        if digest != offered:
            self._places.objects.share(bundle)
        version = _version(it, number, digest, certificate, who)
        ensure_model(change.connection, manifest.name, manifest.created)
        words = words_of(version, manifest.params)
        change.connection.execute(tables.versions.insert().values(**_version_row(version), words=words))
        for row in _metric_rows(version):
            change.connection.execute(tables.version_metrics.insert().values(row))
        _keep_certificate(change.connection, manifest.name, number, certificate)
        change.entry(
            who,
            "register",
            version.reference,
            digest=digest,
            run=manifest.lineage.run,
            snapshot=manifest.lineage.snapshot,
            gate=None if it.gate is None else it.gate.passed,
            certificate=certificate.passed,
            **({"came": dict(came)} if came else {}),
        )
        return version


def _newest(connection: sa.Connection, model: str) -> int:
    at = tables.versions.c
    return connection.execute(sa.select(sa.func.max(at.number)).where(at.model == model)).scalar() or 0


def _version(it: Filled, number: int, digest: str, certificate: Certificate, who: str) -> Version:
    manifest: Manifest = it.manifest
    lineage: Lineage = manifest.lineage
    return Version(
        name=manifest.name,
        number=number,
        runtime=manifest.runtime,
        uncompiled=manifest.uncompiled,
        task=manifest.task,
        digest=digest,
        schema=it.schema,
        metrics=it.evaluation.metrics if it.evaluation else {},
        slices=it.evaluation.slices if it.evaluation else (),
        baselines=it.evaluation.baselines if it.evaluation else {},
        gains=it.evaluation.gains if it.evaluation else (),
        unweighed=it.evaluation.unweighed if it.evaluation else "",
        gate=it.gate,
        certificate=certificate,
        lineage=lineage,
        created=manifest.created,
        created_by=who,
    )


def ensure_model(connection: sa.Connection, model: str, created: Any) -> None:
    """The model's row, made if it is not there."""
    row = {"name": model, "created": to_text(created), "code": "", "root": ""}
    add_if_absent(connection, tables.models, row)


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


def _metric_rows(version: Version) -> list[dict[str, Any]]:
    here = {"model": version.name, "number": version.number}
    return [{**here, "metric": name, "value": metric.value} for name, metric in version.metrics.items()]


def _keep_certificate(connection: sa.Connection, model: str, number: int, certificate: Certificate) -> None:
    document = msgspec.json.encode(certificate).decode()
    row = {"id": new_id(), "model": model, "number": number, "passed": certificate.passed, "document": document}
    connection.execute(tables.certificates.insert().values(row))


def _load(connection: sa.Connection, query: sa.Select[Any]) -> list[Version]:
    rows = connection.execute(query).all()
    models, numbers = {row.model for row in rows}, {row.number for row in rows}
    named = tables.aliases.c
    aliases: dict[tuple[str, int], list[str]] = {}
    for row in connection.execute(sa.select(tables.aliases).where(named.model.in_(models))):
        aliases.setdefault((row.model, row.number), []).append(row.alias)
    at = tables.certificates.c
    last = sa.select(sa.func.max(at.id)).where(at.model.in_(models), at.number.in_(numbers))
    newest = sa.select(tables.certificates).where(at.id.in_(last.group_by(at.model, at.number)))
    documents = {(row.model, row.number): row.document for row in connection.execute(newest)}
    return [
        msgspec.structs.replace(
            msgspec.json.decode(row.document, type=Version),
            aliases=tuple(sorted(aliases.get((row.model, row.number), []))),
            certificate=msgspec.json.decode(documents[row.model, row.number], type=Certificate),
        )
        for row in rows
    ]
