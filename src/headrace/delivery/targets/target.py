"""What a target is to Headrace: a function from what is deployed to files and commands. By itself it does nothing.

So a plan is the same function as a deployment, files can go into a repository that something else watches, and what
ran can be shown to the letter.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import yaml

from headrace.kernel.records import Record
from headrace.kernel.routes import Key, Rule


class Deployable(Record, frozen=True, kw_only=True):
    """A version on its way to a target. `image` is the name of its image, with its digest where that is known; `folder`
    is where files are written; `serial` counts what was put there. `rules`, `keys` and `public`, the key that bundles
    are signed with, are those of the workspace."""

    model: str
    version: int
    digest: str
    target: str
    folder: str
    image: str = ""
    serial: int = 1
    rules: dict[str, Rule] = {}
    keys: dict[str, Key] = {}
    public: str = ""

    @property
    def reference(self) -> str:
        """The version as people write it."""
        return f"{self.model}@{self.version}"


class Command(Record, frozen=True, kw_only=True):
    """A program and its words. Where `known` succeeds, `instead` is run instead, or nothing where that is empty. With
    `changed` it is only run where that file is another than stood there before. `stays` is true of a program that goes
    on by itself."""

    words: tuple[str, ...]
    known: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    changed: str = ""
    stays: bool = False


class Rendered(Record, frozen=True, kw_only=True):
    """What a deployment is: `files` by their paths below its folder, in which the `put` commands run and, where
    nothing stood there before, the `back` commands that take it away. `bundle` is where the bundle itself is copied to,
    if anywhere; `address` is where the endpoint answers, as far as it is known; `serial` is that of the deployable."""

    files: dict[str, str]
    put: tuple[Command, ...] = ()
    back: tuple[Command, ...] = ()
    bundle: str = ""
    address: str = ""
    serial: int = 1


def document(content: Any) -> str:
    """A document of YAML. Whatever a text holds, it stays one value."""
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
    return text


def label(name: str, most: int = 63) -> str:
    """The name of a model as a label of DNS (RFC 1035), of `most` characters; another model never has the same one."""
    plain = re.sub(r"-+", "-", name.replace("_", "-")).strip("-")
    plain = plain if plain[:1].isalpha() else f"m-{plain}"
    if plain == name and len(plain) <= most:
        return plain
    mark = hashlib.sha256(name.encode()).hexdigest()[:6]
    return f"{plain[: most - 7].rstrip('-')}-{mark}"
