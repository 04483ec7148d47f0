"""From a version to its image: fetch what it needs, write the build context, build, and say what came of it."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import msgspec

from headrace.audit.signing import Signer
from headrace.delivery.builders import (
    BUILT,
    build_command,
    builder_of,
    digest_of,
    need_tag,
    push_command,
    pushed_digest,
)
from headrace.delivery.containerfile import check_base
from headrace.delivery.context import Subject, discard_context, python_of, write_context
from headrace.delivery.needed import needed_pins
from headrace.delivery.programs import Saying, run
from headrace.delivery.wheels import fetched
from headrace.kernel.errors import Unavailable
from headrace.kernel.folders import need_empty
from headrace.kernel.records import Record

USUAL_BASE = "docker.io/library/python:{python}-slim"


class Wanted(Record, frozen=True, kw_only=True):
    """How an image is to be made. `base` is an image with the Python of training; empty for the official one.
    `builder` is the first that works where empty; `options` are more words for it, `push_options` where it sends.
    `overwrite`: a build context that stands in the folder gives way."""

    tag: str
    base: str = ""
    platform: str = "linux/amd64"
    builder: str = ""
    options: str = ""
    push_options: str = ""
    build: bool = True
    push: bool = False
    overwrite: bool = False


class Packaged(Record, frozen=True, kw_only=True):
    """An image that was built, or its context with the command that builds it. `version` is empty where it has none and
    follows a route document. `context_bytes` is the size of what goes
    in beside the base image; `pushed` is the digest that the image has in its registry, once it was sent there."""

    version: str
    tag: str
    context: str
    context_bytes: int
    command: str
    builder: str = ""
    digest: str = ""
    pushed: str = ""


def package(it: Subject, wanted: Wanted, folder: Path, signer: Signer, saying: Saying) -> Packaged:
    """Write the build context of a version to a folder, and build its image where a builder works.

    Args:
        saying: is told what is done, and what the builder says.

    Raises:
        Conflict: the folder holds something.
        InvalidInput: a name, platform or builder that cannot be.
        MissingExtra: pip is not installed.
        Unavailable: packages could not be fetched, or the builder failed; a context that was written stays.
    """
    builder = ready(wanted, folder)
    python = python_of(it.environment)
    base = check_base(wanted.base or USUAL_BASE.format(python=python))
    pins = needed_pins(it.bundle, it.environment) if it.manifest.runtime == "reference" else []
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        saying(f"fetching packages for Python {python} on {wanted.platform}")
        wheels = fetched(pins, python, wanted.platform, Path(scratch) / "wheels")
        saying(f"writing {folder}")
        write_context(it, wheels, pins, base, folder, signer)
    return built(it.version.reference, wanted, builder, folder, saying)


def ready(wanted: Wanted, folder: Path) -> str:
    """See that a build context can be written; gives the builder, empty where none works.

    Raises:
        Conflict: the folder holds something.
        InvalidInput, Unavailable: the tag or the builder cannot be.
    """
    need_tag(wanted.tag)
    if wanted.overwrite:
        discard_context(folder)
    need_empty(folder)
    return builder_of(wanted.builder) if wanted.build else wanted.builder


def built(what: str, wanted: Wanted, builder: str, folder: Path, saying: Saying) -> Packaged:
    """Build the image of a context that was written, and send it where that was asked for.

    Raises:
        Unavailable: the builder failed, or there is none and it should have been sent.
    """
    command = build_command(builder or "docker", folder, wanted.tag, wanted.platform, wanted.options)
    packaged = Packaged(
        version=what,
        tag=wanted.tag,
        context=str(folder),
        context_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        command=shlex.join(command),
    )
    if not wanted.build or not builder:
        if wanted.push:
            raise Unavailable("Nothing was built that could be pushed.", todo="Install docker, podman or buildah.")
        return packaged
    run(command, saying, BUILT)
    digest = digest_of(builder, wanted.tag)
    pushed = _pushed(builder, wanted, saying) if wanted.push else ""
    return msgspec.structs.replace(packaged, builder=builder, digest=digest, pushed=pushed)


def _pushed(builder: str, wanted: Wanted, saying: Saying) -> str:
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        digest = Path(scratch) / "digest"
        command = push_command(builder, wanted.tag, digest, wanted.push_options)
        run(command, saying, f"The image was built; see that its registry takes it: {shlex.join(command)}")
        return pushed_digest(wanted.tag, digest)
