"""A bundle that another Headrace exported: verified, then entered here as a version of its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headrace.kernel.digests import digest_file
from headrace.kernel.errors import NotTrusted
from headrace.kernel.places import Places
from headrace.kernel.records import Evaluation, GateResult, Version
from headrace.registry.bundles import drafting
from headrace.registry.filling import Filled
from headrace.registry.signatures import open_trust
from headrace.registry.versions import Versions
from headrace.runtimes.bundle import MANIFEST, SIGNATURE, Manifest, read_schema, verify_bundle

MADE_HERE = (MANIFEST, SIGNATURE, "evidence/certificate.json")


def register_bundle(versions: Versions, places: Places, model: str, folder: Path, who: str, trust: bool) -> Version:
    """Make a version of the bundle in `folder`; its lineage stays, its certificate is made anew.

    Args:
        trust: take it although no trusted key signed it; that is recorded.

    Raises:
        NotTrusted: it was altered, or no trusted key signed it and nobody gave their word for it.
    """
    try:
        return _entered(versions, places, model, folder, who, trust)
    except (msgspec.MsgspecError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise NotTrusted(
            f"The bundle in {folder} is none that Headrace wrote: {str(error).splitlines()[0]}.",
            todo="Export it again from the registry that made it.",
        ) from error


def _entered(versions: Versions, places: Places, model: str, folder: Path, who: str, trust: bool) -> Version:
    digest, manifest, trusted = _verified(places, folder, trust)
    with drafting(places.staging) as draft:
        for name in manifest.files.keys() - set(MADE_HERE):
            (draft.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, draft.folder / name, follow_symlinks=False)
        filled = Filled(
            manifest=msgspec.structs.replace(manifest, name=model, version=0, files={}),
            schema=read_schema(draft.folder),
            evaluation=_evidence(draft.folder / "evidence/evaluation.json", Evaluation),
            gate=_evidence(draft.folder / "evidence/gate.json", GateResult),
        )
        return versions.enter(
            draft, filled, who, trusted, {"from": f"{manifest.name}@{manifest.version}", "bundle": digest}
        )


def _verified(places: Places, folder: Path, trust: bool) -> tuple[str, Manifest, Mapping[str, Any] | None]:
    try:
        digest, manifest = open_trust(places.signing_public, places.objects.gather(places.trusted)).verified(folder)
    except NotTrusted as error:
        if not trust:
            raise NotTrusted(
                error.text,
                expected="a bundle signed by this registry or by a key added with 'headrace keys trust FILE'",
                todo="Add the other registry's public key, or say --trust if you know who made it; that is recorded.",
            ) from error
        digest = digest_file(folder / MANIFEST)
        return digest, verify_bundle(folder, digest), {"bundle": digest, "why": error.text}
    return digest, manifest, None


def _evidence(path: Path, kind: Any) -> Any:
    return msgspec.json.decode(path.read_bytes(), type=kind | None) if path.exists() else None
