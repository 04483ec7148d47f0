"""A bundle on disk: its manifest, and the check that every byte is the one that was registered."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headrace.kernel.digests import digest_bytes, digest_file
from headrace.kernel.errors import NotTrusted
from headrace.kernel.records import Lineage, Runtime, Task
from headrace.kernel.schema import Scalar, Schema

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
SCHEMA = "schema.json"
GOLDEN_ROWS = "golden/rows.arrow"
GOLDEN_OUTPUTS = "golden/outputs.arrow"
GOLDEN_REFUSED = "golden/refused.arrow"
PLAN = "compiled/plan.json"
GRAPH = "compiled/graph.onnx"
FLAT_GRAPH = "compiled/graph.ort"
FILE_LAYOUT = "compiled/file.json"
MONITOR = "evidence/monitor.json"
CANONICAL = "evidence/canonical.txt"
REPAIR = "Restore the folder from a backup, or register the version again."


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle holds. Its own SHA-256 is the digest of the version, so it covers every other file.

    `uncompiled` is the reason for which the Python object itself answers, where it does.
    """

    format: int = 1
    name: str
    version: int
    runtime: Runtime = "reference"
    uncompiled: str = ""
    task: Task
    classes: tuple[Scalar, ...]
    lineage: Lineage
    params: dict[str, Any]
    created: datetime
    headrace: str
    files: dict[str, str]


def verify_bundle(folder: Path, digest: str) -> Manifest:
    """The manifest of the bundle in `folder`, once every file in it is what `digest` stands for.

    Raises:
        NotTrusted: a file is absent, altered, or not in the manifest. Nothing was deserialised.
    """
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise NotTrusted(f"The bundle {digest[:12]} cannot be read: {error}.", todo=REPAIR) from error
    if digest_bytes(content) != digest:
        raise NotTrusted(f"The manifest of bundle {digest[:12]} was altered.", todo=REPAIR)
    manifest = msgspec.json.decode(content, type=Manifest)
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    if links := [path.name for path in paths if path.is_symlink()]:
        raise NotTrusted(f"In the bundle {digest[:12]} {min(links)} is a link.", todo=REPAIR)
    there = {path.relative_to(folder).as_posix() for path in paths}
    if extra := there - manifest.files.keys() - {MANIFEST, SIGNATURE}:
        raise NotTrusted(f"The bundle {digest[:12]} holds a file that is not its own: {min(extra)}.", todo=REPAIR)
    for name, expected in manifest.files.items():
        _verify_file(folder, name, expected, digest)
    return manifest


def _verify_file(folder: Path, name: str, expected: str, digest: str) -> None:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
        raise NotTrusted(f"The bundle {digest[:12]} names a file outside itself: {name!r}.", todo=REPAIR)
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise NotTrusted(f"The bundle {digest[:12]} lacks {name}.", todo=REPAIR)
    if digest_file(path) != expected:
        raise NotTrusted(f"{name} in bundle {digest[:12]} was altered.", todo=REPAIR)


def read_schema(folder: Path) -> Schema:
    """The contract of the version's columns."""
    return msgspec.json.decode((folder / SCHEMA).read_bytes(), type=Schema)
