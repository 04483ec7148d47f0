"""All that a version shows for itself, as files: made of its records, so that it can be made again at any time."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import sqlalchemy as sa

from headrace.audit.signing import Signer
from headrace.kernel import tables
from headrace.kernel.errors import NotFound
from headrace.kernel.records import Run, Version
from headrace.kernel.schema import example_row
from headrace.registry.environment import Environment
from headrace.registry.evidence.bom import ml_bom
from headrace.registry.evidence.card import model_card
from headrace.registry.evidence.hand_off import hand_off
from headrace.registry.evidence.provenance import provenance
from headrace.registry.signatures import envelope
from headrace.retraining.loop import Rooms
from headrace.retraining.ml_test_score import Facts, as_markdown, ml_test_score
from headrace.runtimes.bundle import MANIFEST, MONITOR, Manifest
from headrace.training.project import Policy
from headrace.training.proofs import Proofs

TIMES = 200


def evidence(rooms: Rooms, proofs: Proofs, signer: Signer, reference: str) -> dict[str, str]:
    """The files by their names.

    Raises:
        NotFound: there is no such version.
        NotTrusted: its bundle was altered.
    """
    version = rooms.versions.get(reference)
    folder = rooms.versions.folder(version)
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    environment = msgspec.json.decode((folder / "environment/environment.json").read_bytes(), type=Environment)
    policy = policy_of(rooms, version.name)
    purpose = policy.settings.purpose if policy else ""
    owners = owners_of(policy)
    score = ml_test_score(_facts(rooms, proofs, version, policy))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    said = ", ".join(f"{who} ({what})" for what, who in owners.items() if who)
    return {
        "model-card.md": model_card(version, manifest, purpose, said),
        "bom.cdx.json": _json(ml_bom(version, manifest, environment)),
        "provenance.dsse.json": _json(envelope(provenance(version, manifest, signer), signer)),
        "ml-test-score.json": _json(score),
        "ml-test-score.md": as_markdown(version.reference, score),
        "hand-off.md": hand_off(version, purpose, owners, size, _latency(rooms, version), _earlier(rooms, version)),
        "metrics.json": _json({"metrics": version.metrics, "slices": version.slices}),
        "gate.json": _json(version.gate),
        "certificate.json": _json(version.certificate),
        "proofs.json": _json(proofs.list(version.name, version.number)),
        "promotions.json": _json([p for p in rooms.promotions.history(version.name) if p.number == version.number]),
    }


def _json(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def policy_of(rooms: Rooms, model: str) -> Policy | None:
    """The policy of a model, where a project gave it one."""
    with rooms.database.read() as connection:
        row = connection.execute(sa.select(tables.models.c.policy).where(tables.models.c.name == model)).first()
    return msgspec.convert(row.policy, Policy) if row is not None and row.policy else None


def owners_of(policy: Policy | None) -> dict[str, str]:
    """Who answers for what of a model."""
    owners = policy.settings.owners if policy else None
    return {
        "accuracy and stability": owners.accuracy if owners else "",
        "speed and interfaces": owners.speed if owners else "",
    }


def _facts(rooms: Rooms, proofs: Proofs, version: Version, policy: Policy | None) -> Facts:
    run = _run(rooms, version)
    return Facts(
        version=version,
        policy=policy,
        run=run,
        trials=len(rooms.runs.list(version.name, parent=run.id, limit=200)) if run else 0,
        proofs=proofs.list(version.name, version.number),
        rollouts=rooms.rollouts.list(version.name, limit=50),
        windows=[window for window in rooms.windows.list(version.name) if window.number == version.number],
        promotions=rooms.promotions.history(version.name),
        monitored=(rooms.places.bundles / version.digest / MONITOR).exists(),
    )


def _run(rooms: Rooms, version: Version) -> Run | None:
    try:
        return rooms.runs.get(version.lineage.run)
    except NotFound:
        return None


def _earlier(rooms: Rooms, version: Version) -> int | None:
    moves = rooms.promotions.history(version.name)
    return next((p.previous for p in moves if p.number == version.number and p.previous != p.number), None)


def _latency(rooms: Rooms, version: Version) -> float:
    """Seconds for one row, the middle of some."""
    scorer = rooms.versions.open(version)
    row = example_row(version.schema)
    columns = {column.name: [row.get(column.name)] for column in version.schema.features}
    taken = []
    for _ in range(TIMES if version.runtime == "graph" else TIMES // 10):
        began = time.perf_counter()
        scorer.answer(columns, 1)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
