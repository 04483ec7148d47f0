"""Two versions side by side: data, schema, code, environment, parameters, metrics by slice, size and speed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.kernel.ports import Scorer
from headrace.kernel.records import Metric, Version
from headrace.kernel.schema import Schema, describe_type, example_row
from headrace.registry.environment import Environment
from headrace.runtimes.bundle import MANIFEST, Manifest
from headrace.training.code import source_digests
from headrace.training.comparison import Difference, line, metric_line

TIMES = 50


class Side(NamedTuple):
    """A version, its verified bundle, and its scorer."""

    version: Version
    folder: Path
    scorer: Scorer


def compare_versions(first: Side, second: Side, data: str = "") -> list[Difference]:
    """What differs between two versions; what is the same is said where one would ask for it.

    Args:
        data: what differs between their snapshots, in words.
    """
    ours, theirs = (
        msgspec.json.decode((side.folder / MANIFEST).read_bytes(), type=Manifest) for side in (first, second)
    )
    sides = (first, second)
    rows = [
        line("version", *(side.version.reference for side in sides)),
        line("snapshot", *(side.version.lineage.snapshot[:16] for side in sides), note=data),
        line("commit", *(side.version.lineage.commit[:12] for side in sides)),
        line("served as", *(side.version.runtime for side in sides)),
        *_code(first.folder / "code", second.folder / "code"),
        *_schema(first.version.schema, second.version.schema),
        *_environment(*(_read_environment(side.folder) for side in sides)),
    ]
    names = sorted({*ours.params, *theirs.params})
    rows += [line(f"param {n}", *(str(m.params.get(n, "")) for m in (ours, theirs))) for n in names]
    before, after = _metrics(first.version), _metrics(second.version)
    rows += [metric_line(f"metric {n}", before.get(n), after.get(n)) for n in sorted({*before, *after})]
    rows.append(line("size", *(f"{_size(side.folder) / (1 << 20):.2f} MB" for side in sides)))
    rows.append(line("one row", *(f"{1e6 * _seconds(side):,.0f} µs" for side in sides)))
    return rows


def _code(before: Path, after: Path) -> list[Difference]:
    ours, theirs = source_digests(before), source_digests(after)
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not names:
        return [line("code", *(f"{len(each)} files" for each in (ours, theirs)))]
    return [line(f"code {name}", ours.get(name, "")[:12], theirs.get(name, "")[:12]) for name in names]


def _schema(before: Schema, after: Schema) -> list[Difference]:
    ours, theirs = ({c.name: describe_type(c) for c in each.asked} for each in (before, after))
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not names:
        return [line("schema", *(f"{len(each)} columns" for each in (ours, theirs)))]
    return [line(f"column {name}", ours.get(name, ""), theirs.get(name, "")) for name in names]


def _read_environment(folder: Path) -> Environment:
    return msgspec.json.decode((folder / "environment/environment.json").read_bytes(), type=Environment)


def _environment(before: Environment, after: Environment) -> list[Difference]:
    ours, theirs = (_packages(each) for each in (before, after))
    rows = [line("python", before.python, after.python), line("threads", str(before.threads), str(after.threads))]
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if not names:
        return [*rows, line("packages", *(f"{len(each)} packages" for each in (ours, theirs)))]
    return rows + [line(f"package {name}", ours.get(name, ""), theirs.get(name, "")) for name in names]


def _packages(environment: Environment) -> dict[str, str]:
    known = environment.packages
    return {name: known[name].version for name in environment.needed or known if name in known}


def _metrics(version: Version) -> dict[str, Metric]:
    found = dict(version.metrics)
    for part in version.slices:
        found |= {f"{name} where {part.column} is {part.value}": metric for name, metric in part.metrics.items()}
    return found


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _seconds(side: Side) -> float:
    """Seconds for one row, the middle of some."""
    row = example_row(side.version.schema)
    columns = {column.name: [row.get(column.name)] for column in side.version.schema.features}
    taken = []
    for _ in range(TIMES):
        began = time.perf_counter()
        side.scorer.answer(columns, 1)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[TIMES // 2]
