"""Which target is meant by a name: one of the project, or a kind with options that are said."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from headrace.kernel.clock import parse_duration
from headrace.kernel.errors import InvalidInput, NotFound
from headrace.training.targets import KINDS, TargetSection

PLATFORMS = ("compose", "helm")


def chosen(name: str, known: Mapping[str, TargetSection], options: Mapping[str, str]) -> TargetSection:
    """The target of a project, or else the kind of this name, with `options` in place of what it says.

    Raises:
        NotFound: neither is there.
        InvalidInput: an option is unknown, or of the wrong kind.
    """
    if name in PLATFORMS and name not in known:
        raise NotFound(
            f"{name} runs the whole of Headrace, and a version comes to it by being promoted there.",
            expected=", ".join([*known, *KINDS]),
            todo=f"Write it with 'headrace platform DIR --as {name}'.",
        )
    if name not in known and name not in KINDS:
        raise NotFound(
            f"There is no target {name!r}.",
            expected=", ".join([*known, *KINDS]),
            todo=f"Add a table [target.{name}] to headrace.toml, or name a kind.",
        )
    kind = KINDS[name] if name not in known else type(known[name])
    raw = msgspec.to_builtins(known[name]) if name in known else {"kind": name}
    try:
        section = msgspec.convert({**raw, **options}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"Target {name} cannot be: {error}.",
            expected=", ".join(field.name for field in msgspec.structs.fields(kind)),
            todo="Correct --set, or the target in headrace.toml.",
        ) from error
    parse_duration(section.wait)
    return section
