"""A project file and a workspace held against each other: what `headrace apply` would change, where they drifted apart.

A run keeps its project's policy and code in the workspace, and the worker goes by what is kept. So a change of the file
changes nothing until a run or `apply` brings it in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from headrace.kernel.records import Record
from headrace.training.code import code_digest, source_digests
from headrace.training.project import FILE, Project

Files = Callable[[str], Mapping[str, str]]
SHOWN = 12
GONE = "not in headrace.toml any more; it stays as it is"


class Kept(NamedTuple):
    """What a workspace keeps of a model's project: its policy as a document, None where it was never in one; the digest
    of its code, and the folder."""

    policy: dict[str, Any] | None
    code: str
    root: str


class Change(Record, frozen=True, kw_only=True):
    """Something that is otherwise in the project than in the workspace: `before` is the workspace's."""

    model: str
    what: str
    before: str
    after: str


def changes(project: Project, kept: Mapping[str, Kept], files: Files) -> list[Change]:
    """What is otherwise in a project than in the workspace, for each of its models.

    Args:
        kept: what the workspace keeps, by model.
        files: the digests of the files of kept code, by its digest.
    """
    code = code_digest(project.root)
    found: list[Change] = []
    for model in project.models:
        mine = kept.get(model)
        if mine is None or mine.policy is None:
            found.append(Change(model=model, what=f"model.{model}", before="", after="new"))
            continue
        found += _of_policies(model, mine.policy, msgspec.to_builtins(project.policy(model)))
        if mine.code != code:
            found += _of_files(model, files(mine.code), source_digests(project.root))
    for model, mine in kept.items():
        if mine.policy is not None and mine.root == str(project.root) and model not in project.models:
            found.append(Change(model=model, what=f"model.{model}", before="there", after=GONE))
    return found


def _of_files(model: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """The files that are otherwise, but for the project file: what that says is compared by itself."""
    return [
        Change(model=model, what=f"code {name}", before=before.get(name, "")[:SHOWN], after=after.get(name, "")[:SHOWN])
        for name in sorted(before.keys() | after.keys())
        if name != FILE and before.get(name) != after.get(name)
    ]


def _of_policies(model: str, before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    ours, theirs = dict(_fields(before)), dict(_fields(after))
    names = after["settings"]["dataset"]
    return [
        Change(model=model, what=_named(path, model, names), before=ours.get(path, ""), after=theirs.get(path, ""))
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]


def _fields(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each value of a policy by its path, lists as one."""
    if isinstance(document, dict) and document:
        for name, value in document.items():
            yield from _fields(value, (*path, name))
    elif document not in ({}, [], ()):
        yield path, document if isinstance(document, str) else msgspec.json.encode(document).decode()


def _named(path: tuple[str, ...], model: str, dataset: str) -> str:
    """A place in a policy, as it is called in the project file."""
    table, rest = path[0], path[1:]
    begin = {
        "settings": ("model", model),
        "dataset": ("dataset", dataset),
        "others": ("dataset",),
        "targets": ("target",),
    }
    return ".".join((*begin.get(table, (table,)), *rest))
