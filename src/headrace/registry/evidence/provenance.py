"""Signed statements of how a version was made: in-toto attestations with SLSA's provenance predicate, version 1.

Formats: in-toto/attestation `spec/v1/statement.md`, slsa-framework/slsa `spec/build-provenance.md`.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from headrace.audit.signing import Signer
from headrace.kernel.clock import to_text
from headrace.kernel.records import Proof, Version
from headrace.registry.signatures import STATEMENT_TYPE, envelope
from headrace.runtimes.bundle import Manifest

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
TRAINING, PROOF = "urn:headrace:training:1", "urn:headrace:proof:1"


def provenance(version: Version, manifest: Manifest, signer: Signer) -> dict[str, Any]:
    """How a version was made, as a statement that is not signed yet."""
    lineage = manifest.lineage
    named = (("snapshot", lineage.dataset, lineage.snapshot), ("code", lineage.project, lineage.code))
    resolved = [{"name": f"{what}:{name}", "digest": {"sha256": digest}} for what, name, digest in named if digest]
    locks = [name for name in manifest.files if name.startswith("environment/")]
    resolved += [{"name": name, "digest": {"sha256": manifest.files[name]}} for name in sorted(locks)]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": version.reference, "digest": {"sha256": version.digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": TRAINING,
                "externalParameters": {"model": manifest.name, "parameters": manifest.params, "commit": lineage.commit},
                "internalParameters": {"task": manifest.task, "headrace": manifest.headrace},
                "resolvedDependencies": resolved,
            },
            "runDetails": {
                "builder": {"id": f"urn:headrace:registry:{signer.public.id}"},
                "metadata": {"invocationId": lineage.run, "finishedOn": to_text(manifest.created)},
            },
        },
    }


def statement_of(proof: Proof, version: Version, manifest: Manifest, signer: Signer) -> dict[str, Any]:
    """A proof as a signed statement (DSSE): the version's provenance, and what making it again gave."""
    statement = provenance(version, manifest, signer)
    build = statement["predicate"]["buildDefinition"]
    build["buildType"] = PROOF
    build["internalParameters"] |= {"rebuilt": proof.rebuilt, "hardware": proof.hardware}
    details = statement["predicate"]["runDetails"]
    details["metadata"] = {"invocationId": proof.id, "finishedOn": to_text(proof.made)}
    found = msgspec.to_builtins(msgspec.structs.replace(proof, statement={}))
    details["byproducts"] = [{"name": "proof", "mediaType": "application/json", "content": _base64(found)}]
    return envelope(statement, signer)


def _base64(document: Any) -> str:
    """JSON as in-toto's resource descriptors hold it."""

    return base64.b64encode(msgspec.json.encode(document)).decode()
