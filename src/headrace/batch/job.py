"""What a job is: what was asked, how its source was divided, how far it is, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from headrace.batch.dialect import Dialect, Wanted
from headrace.kernel.records import Record

Status = Literal["queued", "running", "done", "failed", "cancelled"]
Format = Literal["csv", "jsonl", "parquet", "arrow", "excel", "table"]
UNDER_WAY: tuple[Status, ...] = ("queued", "running")
CHUNK = 16 << 20


class Options(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How a job is done.

    `keep`: the columns of the source that stand in the result; `all`, or `keys` for those that the schema calls keys
    (all where it has none), or names with commas between them. `rejects`: how many rows may be rejected, a number or
    a share such as ``1%``; empty for any. `rename` gives columns of the source the names that they have in the schema.
    `tell` names who is told when the job ends, by mail or webhook. `chunk` and `threads` decide how fast it is done and
    in how much memory, nothing else. `escape`: whether texts that a spreadsheet would take for a formula are disarmed.
    `sql` is the query of a source that is a database; `append` adds to a table that is there; `after` takes the rows of
    a table or query whose column is above a value (or any) and up to another; `only` takes some of the files that the
    source finds. `schedule` is the name of the schedule that began the job, and `report` whom its report is mailed to.
    `capture`: whether predictions go to the predictions table as those of requests do.
    `engine` is where chunks are scored: ``local``, ``ray`` or ``spark``, the last two with an address, as in
    ``ray:ADDRESS``, if it does not stand in the environment; like `chunk` it does not change the result.
    `within` names the folders in which every file of the source must lie, whatever links lead there; None for anywhere.
    """

    keep: str = "keys"
    rejects: str = ""
    chunk: int = CHUNK
    threads: int = 0
    text: Wanted = Wanted()
    rename: dict[str, str] = {}
    tell: tuple[str, ...] = ()
    within: tuple[str, ...] | None = None
    escape: bool = True
    overwrite: bool = False
    priority: int = 0
    sql: str = ""
    append: bool = False
    after: tuple[str, Any, Any] | None = None
    only: tuple[str, ...] = ()
    schedule: str = ""
    report: tuple[str, ...] = ()
    capture: bool = True
    engine: str = "local"


class Asked(Record, frozen=True, kw_only=True):
    """A job as it is asked for: which version scores what, and where the answers go."""

    model: str
    version: int
    bundle: str
    source: str
    destination: str
    options: Options


class Input(Record, frozen=True, kw_only=True):
    """One file of a source.

    `blocks` holds where each block begins, and the number of its first line (from 1, of a text) or row (from 0, of a
    table; of a sheet, whose header is the first, from 1); offsets of a text are bytes, of a table rows. `base` is what
    is added to the number of a line (or of a row, from 1) to get the row's number within the source, from 0. `stamp`
    is the size and the moment of the last change, and `digest` that of the content; `origin` is where it was found and
    what it was known by there, which is not `path` where it had to be fetched or written down anew; `inside` says that
    `path` is one of the workspace's own files, relative to it. `partition` holds columns that stand in the names of
    its folders.
    """

    name: str
    path: str
    origin: tuple[str, int, int]
    format: Format
    columns: tuple[str, ...]
    dialect: Dialect = Dialect()
    stamp: tuple[int, int]
    inside: bool = False
    digest: str
    partition: dict[str, str | None] = {}
    base: int
    blocks: tuple[tuple[int, int], ...]
    end: int


class Plan(Record, frozen=True, kw_only=True):
    """A source, divided. `id` is what the ids of its predictions begin with; `keep` names the columns of the source
    that stand in the result, `kinds` says of what type each is in lines of JSON, `rename` how columns of tables and
    lines of JSON are called instead."""

    id: str
    inputs: tuple[Input, ...]
    keep: tuple[str, ...]
    kinds: dict[str, str] = {}
    rename: dict[str, str] = {}
    rows: int
    size: int


class Chunk(Record, frozen=True, kw_only=True):
    """The blocks `first` up to `last` of one file."""

    number: int
    input: int
    first: int
    last: int


class Counts(Record, frozen=True, kw_only=True):
    """Rows: those that were read are those that were scored and those that were rejected."""

    scored: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        """How many were read."""
        return self.scored + self.rejected


class Job(Record, frozen=True, kw_only=True):
    """One batch scoring. `rows` is how many rows the source has, as far as its lines tell; `chunks` of them there are.

    `result` and `rejects` are where the answers and the rejected rows lie, once it is done.
    """

    id: str
    model: str
    version: int
    source: str
    destination: str
    options: Options
    status: Status
    created_by: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    counts: Counts = Counts()
    rows: int = 0
    chunks: int = 0
    chunks_done: int = 0
    digest: str = ""
    result: str = ""
    rejects: str = ""
    error: dict[str, Any] | None = None

    @property
    def reference(self) -> str:
        """The version: ``late-arrival@3``."""
        return f"{self.model}@{self.version}"
