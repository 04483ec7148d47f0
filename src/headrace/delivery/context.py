"""The build context of an image: a folder with all that goes in, so that building needs no network.

The files of the scoring process are copied from this release; rooms that it does not load stay behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headrace.audit.signing import Signer
from headrace.delivery.containerfile import FIRST_LINE, containerfile
from headrace.delivery.wheels import Wheel, unpacked
from headrace.kernel.digests import digest_bytes
from headrace.kernel.folders import need_empty
from headrace.kernel.records import Version
from headrace.kernel.release import VERSION
from headrace.kernel.routes import Rule
from headrace.registry.environment import Environment, Package
from headrace.registry.evidence.bom import ml_bom
from headrace.registry.evidence.provenance import provenance
from headrace.registry.signatures import envelope
from headrace.runtimes.bundle import MANIFEST, Manifest

OURS = (
    "__init__.py",
    "__main__.py",
    "settings.py",
    "kernel",
    "runtimes",
    "serving",
    "entrypoints/__init__.py",
    "entrypoints/outcomes.py",
    "entrypoints/cli/__init__.py",
    "entrypoints/cli/verb.py",
    "entrypoints/cli/serve.py",
    "entrypoints/scoring",
)
"""What of this package the scoring process loads."""
PACKAGE = Path(__file__).parents[1]
NOT_OURS = ("kernel/migrations", "kernel/database.py", "kernel/tables.py")


class Subject(NamedTuple):
    """A version and what its bundle says of itself; `rule` is what its project says of serving it."""

    version: Version
    bundle: Path
    manifest: Manifest
    environment: Environment
    rule: Rule


def subject_of(version: Version, bundle: Path, rule: Rule) -> Subject:
    """What is packaged, from a bundle that was verified."""
    manifest = msgspec.json.decode((bundle / MANIFEST).read_bytes(), type=Manifest)
    environment = msgspec.json.decode((bundle / "environment/environment.json").read_bytes(), type=Environment)
    return Subject(version, bundle, manifest, environment, rule)


def python_of(environment: Environment) -> str:
    """The release of Python that a version was trained with: ``3.11``."""
    return ".".join(environment.python.split(".")[:2])


def write_context(it: Subject, wheels: list[Wheel], pins: list[str], base: str, folder: Path, signer: Signer) -> None:
    """Write a build context to an empty folder.

    Args:
        pins: what must be there in these versions, as ``name==version``.

    Raises:
        Conflict: the folder holds something.
        InvalidInput: the base is no name of an image.
    """
    need_empty(folder)
    signed = msgspec.json.encode(envelope(provenance(it.version, it.manifest, signer), signer), order="sorted")
    number = it.version.number
    text = containerfile(it.version.name, number, it.version.digest, base, digest_bytes(signed), VERSION)
    site = folder / "site"
    unpacked(wheels, site)
    copy_ours(site, OURS)
    write_metadata(site)
    shutil.copytree(it.bundle, folder / "bundle")
    _write(folder / "rule.json", _document(it.rule))
    _write(folder / "notes" / "provenance.dsse.json", signed)
    _write(folder / "notes" / "bom.cdx.json", _document(_bom(it, wheels)))
    _write(folder / "notes" / "packages.txt", "".join(map(line_of, wheels)).encode())
    _write(folder / "needed.txt", "\n".join([f"python=={python_of(it.environment)}", *pins, ""]).encode())
    _write(folder / "Containerfile", text.encode())
    same_for_everybody(folder)


def same_for_everybody(folder: Path) -> None:
    """Give all in a build context the modes that it has whoever writes it."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def discard_context(folder: Path) -> None:
    """Remove a folder, if it is a build context that was written here."""
    written = folder / "Containerfile"
    if written.is_file() and written.read_text().startswith(FIRST_LINE):
        shutil.rmtree(folder)


def copy_ours(site: Path, names: Sequence[str]) -> None:
    """Copy files and folders of this package to where Python finds them."""
    for name in names:
        source, target = PACKAGE / name, site / "headrace" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_left_out)
        else:
            shutil.copyfile(source, target)


def write_metadata(site: Path) -> None:
    """Let the files of this package be found as what is installed."""
    text = f"Metadata-Version: 2.1\nName: headrace\nVersion: {VERSION}\n"
    _write(site / f"headrace-{VERSION}.dist-info" / "METADATA", text.encode())


def _left_out(folder: str, names: list[str]) -> list[str]:
    """What stays behind of a folder of this package."""
    inside = Path(folder).relative_to(PACKAGE)
    return [name for name in names if name == "__pycache__" or (inside / name).as_posix() in NOT_OURS]


def _bom(it: Subject, wheels: list[Wheel]) -> dict[str, Any]:
    """The bill of materials of what is in the image: the packages are its own, not those of training."""
    packages = {wheel.name: Package(wheel.version, wheel.digest) for wheel in wheels}
    inside = msgspec.structs.replace(it.environment, packages=packages, needed=tuple(packages))
    return ml_bom(it.version, it.manifest, inside)


def line_of(wheel: Wheel) -> str:
    """A package as pip takes it, with its hash."""
    return f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.digest}\n"


def _document(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
