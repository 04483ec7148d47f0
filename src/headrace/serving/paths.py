"""The paths of a scoring server: one table, from which requests are dispatched, guarded and described."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from headrace.serving.dialects.dialect import Dialect
from headrace.serving.endpoints import Active, Loaded, State
from headrace.serving.guard import Asked
from headrace.serving.replies import Reply

_PARTS = {"{model}": "(?P<model>[^/:]+)", "{version}": "(?P<version>[0-9]{1,9})"}
MOST_KNOWN = 4096


class Target(msgspec.Struct, frozen=True):
    """What a path means: whom it asks for, and which version where one was named."""

    path: Path
    model: str | None
    version: int | None


class View(NamedTuple):
    """What a page is made from; `active` and `loaded` are there where it is about a model."""

    state: State
    target: Target
    active: Active | None
    loaded: Loaded | None


class Path(msgspec.Struct, frozen=True):
    """One row of the table.

    Attributes:
        method: GET or POST.
        template: with ``{model}`` and ``{version}``; without a model it means the only one of the server.
        scope: what a caller's key must be for; None is open to everybody.
        dialect: for paths that predict.
        page: for others.
        about: whether the page is about a model, which must be loaded for it.
        summary: for people.
        kind: the content type of the page.
    """

    method: Literal["GET", "POST"]
    template: str
    scope: Asked
    dialect: Dialect | None = None
    page: Callable[[View], Reply] | None = None
    about: bool = False
    summary: str = ""
    kind: str = "application/json"


class Paths:
    """The table, ready to be asked."""

    def __init__(self, paths: list[Path]) -> None:
        self.table = paths
        self._patterns = [(re.compile(_pattern(path.template)), path) for path in paths]
        self._known: dict[tuple[str, str], Target] = {}

    def find(self, method: str, path: str) -> Target | tuple[str, ...]:
        """What is at a path; else the methods that are for it, of which there may be none."""
        method = "GET" if method == "HEAD" else method
        known = self._known.get((method, path))
        if known is not None:
            return known
        others = []
        for pattern, row in self._patterns:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if row.method != method:
                others.append(row.method)
                continue
            parts = found.groupdict()
            number = parts.get("version")
            target = Target(row, parts.get("model"), int(number) if number else None)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            if len(path) < 512:
                self._known[row.method, path] = target
            return target
        return tuple(others)


def _pattern(template: str) -> str:
    pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}")
    for part, expression in _PARTS.items():
        pattern = pattern.replace(part, expression)
    return pattern
