"""Two versions side by side: data, schema, code, environment, parameters, metrics by slice, size and speed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from headrace.kernel.ports import Scorer
from headrace.kernel.records import Certificate, GateResult, Version
from headrace.kernel.schema import Schema, describe_type
from headrace.registry.environment import Environment
from headrace.registry.measuring import bundle_size, row_seconds
from headrace.runtimes.bundle import MANIFEST, Manifest
from headrace.training.code import source_digests
from headrace.training.comparison import Difference, by_slice, line, metric_line


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
        line("gate", *(_passed(side.version.gate) for side in sides)),
        line("certificate", *(_passed(side.version.certificate) for side in sides)),
        *_code(first.folder / "code", second.folder / "code"),
        *_schema(first.version.schema, second.version.schema),
        *_environment(*(_read_environment(side.folder) for side in sides)),
    ]
    names = sorted({*ours.params, *theirs.params})
    rows += [line(f"param {n}", *(str(m.params.get(n, "")) for m in (ours, theirs))) for n in names]
    before, after = (by_slice(side.version.metrics, side.version.slices) for side in sides)
    rows += [metric_line(f"metric {n}", before.get(n), after.get(n)) for n in sorted({*before, *after})]
    rows.append(line("size", *(f"{bundle_size(side.folder) / (1 << 20):.2f} MB" for side in sides)))
    rows.append(line("one row", *(f"{1e6 * row_seconds(side.version, side.scorer):,.0f} µs" for side in sides)))
    return rows


def _passed(evidence: GateResult | Certificate | None) -> str:
    return "none" if evidence is None else "passed" if evidence.passed else "NOT passed"


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


def packages_changed(before: Path, after: Path) -> list[str]:
    """In words, which packages that training needed are others in the bundle `after` than in `before`."""
    rows = _environment(_read_environment(before), _read_environment(after))
    changed = [row for row in rows if row.what.startswith(("package ", "python")) and not row.same]
    return [f"{row.what.removeprefix('package ')} {row.first or 'none'} -> {row.second or 'none'}" for row in changed]


def _packages(environment: Environment) -> dict[str, str]:
    known = environment.packages
    return {name: known[name].version for name in environment.needed or known if name in known}
