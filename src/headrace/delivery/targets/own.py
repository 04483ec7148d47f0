"""A project's own target: its function is called with the deployment, and what it gives is held to the same rules as
ours."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from headrace.delivery.targets.target import Command, Deployable, Rendered
from headrace.kernel.errors import InvalidProject
from headrace.training.functions import TargetRequest
from headrace.training.processes import Place, call_step
from headrace.training.targets import OwnTarget


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the function gives: texts by their paths, commands as lists of words, and where the endpoint answers."""

    files: dict[str, str] = {}
    put: tuple[tuple[str, ...], ...] = ()
    back: tuple[tuple[str, ...], ...] = ()
    address: str = ""


def own(it: Deployable, section: OwnTarget, code: Path) -> Rendered:
    """The files and commands that a project's function makes of a deployment.

    Args:
        code: the project's source.

    Raises:
        InvalidProject: the function raises, or gives something else.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-") as scratch:
        deployment = {
            "model": it.model,
            "version": it.version,
            "digest": it.digest,
            "image": it.image,
            "target": it.target,
            "folder": it.folder,
            "options": section.options,
        }
        request = TargetRequest(section.function, deployment)
        given = call_step(Path(scratch), "target", request, Place(code=code.absolute(), cwd=code.absolute(), threads=1))
    return _rendered(given, section, it.target)


def _rendered(given: Any, section: OwnTarget, target: str) -> Rendered:
    try:
        found = msgspec.convert(given, Given)
    except msgspec.ValidationError as error:
        raise InvalidProject(
            f"{section.function} gave what cannot be deployed: {error}.",
            expected="files (texts by path), put and back (lists of words), address",
            todo="Correct the function.",
        ) from error
    for name in found.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise InvalidProject(
                f"{section.function} gave a file {name!r}.", expected="a path below its folder", todo="Correct it."
            )
    if any(not words or not words[0] for words in (*found.put, *found.back)):
        raise InvalidProject(
            f"{section.function} gave a command without a word.", expected="a program", todo="Correct it."
        )
    return Rendered(
        files={f"{target}/{name}": text for name, text in found.files.items()},
        put=tuple(Command(words=words) for words in found.put),
        back=tuple(Command(words=words) for words in found.back),
        address=section.url or found.address,
    )
