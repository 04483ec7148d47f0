"""What a deployment would change."""

from __future__ import annotations

import difflib
import shlex
from typing import Literal

from headrace.delivery.deployments import Deployment
from headrace.delivery.targets.target import Command, Deployable, Rendered
from headrace.kernel.records import Record


class FileChange(Record, frozen=True, kw_only=True):
    """What would become of one file; `diff` are the lines that change, as a unified diff."""

    path: str
    what: Literal["new", "changed", "same", "gone"]
    diff: str = ""


class Plan(Record, frozen=True, kw_only=True):
    """What a deployment would do: `standing` is the version that stands there, empty where none does; `commands` are
    run in `folder`."""

    model: str
    version: int
    target: str
    kind: str
    standing: str
    image: str
    folder: str
    files: tuple[FileChange, ...]
    commands: tuple[str, ...]
    address: str = ""

    @property
    def changes(self) -> bool:
        """Whether anything would be another than it is."""
        return any(file.what != "same" for file in self.files)


def plan_of(it: Deployable, kind: str, made: Rendered, standing: tuple[Deployment, Rendered] | None) -> Plan:
    """The plan of a deployment, held against what stands there."""
    before = standing[1].files if standing else {}
    names = [*made.files, *sorted(before.keys() - made.files.keys())]
    return Plan(
        model=it.model,
        version=it.version,
        target=it.target,
        kind=kind,
        standing=standing[0].reference if standing else "",
        image=it.image,
        folder=it.folder,
        files=tuple(_change(name, before.get(name), made.files.get(name)) for name in names),
        commands=tuple(line for command in made.put for line in _lines(command, made.files, before)),
        address=made.address,
    )


def _change(path: str, before: str | None, now: str | None) -> FileChange:
    if before == now:
        return FileChange(path=path, what="same")
    lines = [(text or "").splitlines(keepends=True) for text in (before, now)]
    diff = "".join(difflib.unified_diff(*lines, fromfile=path, tofile=path, n=2))
    return FileChange(path=path, what="new" if before is None else "gone" if now is None else "changed", diff=diff)


def _lines(command: Command, files: dict[str, str], before: dict[str, str]) -> list[str]:
    """The command as a shell would take it."""
    if command.changed and before.get(command.changed) in (None, files.get(command.changed)):
        return []
    words = shlex.join(command.words)
    if not command.known:
        return [words]
    known = shlex.join(command.known)
    return [f"{known} && {shlex.join(command.instead)} || {words}" if command.instead else f"{known} || {words}"]
