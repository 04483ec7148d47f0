"""``[dataset.NAME]`` of the project file: where rows come from, and what is expected of them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec

from headrace.data.expectations import Expectations

Function = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z")]
WAYS = ("load", "source", "sql", "base")


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the project file. What is as always is not kept with a policy: an earlier Headrace, which may not know
    the field, then goes on; where a project uses the field, it must not."""


class JoinSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of a dataset's `join`: the columns of another `dataset`, found by `on`, as they were known before each row's
    time; `known` is the column there that says since when, `within` how old it may be."""

    dataset: str
    on: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    known: str
    columns: tuple[str, ...] = ()
    within: str | None = None


class DatasetSection(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[dataset.NAME]``: its rows come from one of `load` (``module:function``, which returns a frame or paths),
    `source` (files, folders, globs, Delta tables, prefixes of object storage), `sql` on a `database`, or `base`,
    another dataset, to which the tables of `join` are added. No model may use the columns in `never`."""

    load: Function | None = None
    source: str | tuple[str, ...] = ()
    sql: str = ""
    database: str = ""
    base: str = ""
    join: tuple[JoinSection, ...] = ()
    key: tuple[str, ...] = ()
    time: str | None = None
    expect: Expectations | None = None
    never: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that were named."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def needs(self) -> tuple[str, ...]:
        """The other datasets of which it is made."""
        return tuple(name for name in (self.base, *(one.dataset for one in self.join)) if name)

    def problem(self) -> tuple[str, str] | None:
        """What is wrong with it by itself, and what was expected."""
        named = [way for way in WAYS if getattr(self, way)]
        if len(named) != 1:
            return f"it names {' and '.join(named) or 'no source'}", f"one of {', '.join(WAYS)}"
        if bool(self.sql) != bool(self.database):
            return "sql and database belong together", 'both, such as database = "env:WAREHOUSE"'
        if "://" in self.database and urlsplit(self.database).password:
            return "database holds a password, which every record would keep", 'database = "env:NAME"'
        if self.join and not self.base:
            return "join has nothing to join to", 'base = "DATASET"'
        if self.join and self.time is None:
            return "it has no time, as of which rows are joined", 'time = "COLUMN"'
        return None
