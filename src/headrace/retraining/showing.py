"""All that a version shows for itself, as files: made of its records, so that it can be made again at any time."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.audit.signing import Signer
from headrace.kernel.errors import NotFound
from headrace.kernel.records import Run, Version, Window
from headrace.notices.receivers import people_in
from headrace.registry.environment import Environment
from headrace.registry.evidence.bom import ml_bom
from headrace.registry.evidence.card import model_card
from headrace.registry.evidence.hand_off import hand_off
from headrace.registry.evidence.provenance import provenance
from headrace.registry.measuring import bundle_size, row_seconds
from headrace.registry.signatures import envelope
from headrace.retraining.loop import Rooms
from headrace.retraining.ml_test_score import Facts, Release, as_markdown, ml_test_score
from headrace.runtimes.bundle import MANIFEST, MONITOR, Manifest
from headrace.training.policies import kept_policy
from headrace.training.project import Policy
from headrace.training.proofs import Proofs


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
    policy = kept_policy(rooms.database, version.name)
    purpose = policy.settings.purpose if policy else ""
    owners = owners_of(policy)
    score = ml_test_score(_facts(rooms, proofs, version, policy))
    latency = row_seconds(version, rooms.versions.open(version))
    said = ", ".join(f"{who} ({what})" for what, who in owners.items() if who)
    return {
        "model-card.md": model_card(version, manifest, purpose, said),
        "bom.cdx.json": _json(ml_bom(version, manifest, environment)),
        "provenance.dsse.json": _json(envelope(provenance(version, manifest, signer), signer)),
        "ml-test-score.json": _json(score),
        "ml-test-score.md": as_markdown(version.reference, score),
        "hand-off.md": hand_off(version, purpose, owners, bundle_size(folder), latency, _earlier(rooms, version)),
        "metrics.json": _json(
            {
                "metrics": version.metrics,
                "baselines": version.baselines,
                "gains": version.gains,
                "slices": version.slices,
            }
        ),
        "gate.json": _json(version.gate),
        "certificate.json": _json(version.certificate),
        "tests.json": _json(rooms.tested.newest(version.name, version.number)),
        "proofs.json": _json(proofs.list(version.name, version.number)),
        "promotions.json": _json([p for p in rooms.promotions.history(version.name) if p.number == version.number]),
    }


def _json(document: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def owners_of(policy: Policy | None) -> dict[str, str]:
    """Who answers for what of a model."""
    owners = policy.settings.owners if policy else None
    return {
        "accuracy and stability": people_in(owners.accuracy) if owners else "",
        "speed and interfaces": people_in(owners.speed) if owners else "",
    }


def _facts(rooms: Rooms, proofs: Proofs, version: Version, policy: Policy | None) -> Facts:
    run = _run(rooms, version)
    windows = rooms.windows.list(version.name)
    return Facts(
        version=version,
        policy=policy,
        trials=len(rooms.runs.list(version.name, parent=run.id, limit=200)) if run else 0,
        proofs=proofs.list(version.name, version.number),
        rollouts=rooms.rollouts.list(version.name, limit=50),
        windows=[window for window in windows if window.number == version.number],
        releases=_releases(rooms.versions.list(version.name), windows),
        run=run,
        tests=rooms.tested.newest(version.name, version.number),
        promotions=rooms.promotions.history(version.name),
        monitored=(rooms.versions.folder(version) / MONITOR).exists(),
    )


def _releases(versions: list[Version], windows: list[Window]) -> list[Release]:
    """What each version promised and what it kept, of those whose outcomes are known."""
    found = []
    for version in versions:
        lost = [window.findings["harm"].get("loss") for window in windows if window.number == version.number]
        known = [loss for loss in lost if loss is not None]
        if version.metrics and known:
            name, metric = next(iter(version.metrics.items()))
            found.append(Release(name, metric.value, sum(known) / len(known)))
    return found


def _run(rooms: Rooms, version: Version) -> Run | None:
    try:
        return rooms.runs.get(version.lineage.run)
    except NotFound:
        return None


def _earlier(rooms: Rooms, version: Version) -> int | None:
    moves = rooms.promotions.history(version.name)
    return next((p.previous for p in moves if p.number == version.number and p.previous != p.number), None)
