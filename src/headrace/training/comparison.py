"""Two runs side by side: data, code, parameters, metrics and time."""

from __future__ import annotations

from typing import Any

from headrace.kernel.records import Metric, Record, Run, Slice


class Difference(Record, frozen=True, kw_only=True):
    """One line of a comparison; `same` where both sides agree."""

    what: str
    first: str
    second: str
    same: bool
    note: str = ""


def compare_runs(first: Run, second: Run) -> list[Difference]:
    """What differs between two runs, with all parameters and metrics of either."""
    rows = [
        line("version", _version(first), _version(second)),
        line("snapshot", first.snapshot[:16], second.snapshot[:16]),
        line("code", first.code[:16], second.code[:16]),
        line("seconds", _seconds(first), _seconds(second)),
    ]
    for name in sorted({*first.params, *second.params}):
        rows.append(line(f"param {name}", _text(first.params.get(name)), _text(second.params.get(name))))
    ours, theirs = _metrics(first), _metrics(second)
    rows += [metric_line(f"metric {name}", ours.get(name), theirs.get(name)) for name in sorted({*ours, *theirs})]
    return rows


def _metrics(run: Run) -> dict[str, Metric]:
    return by_slice(run.evaluation.metrics, run.evaluation.slices) if run.evaluation is not None else {}


def by_slice(metrics: dict[str, Metric], slices: tuple[Slice, ...]) -> dict[str, Metric]:
    """The metrics, and those of each slice under a name that says where."""
    found = dict(metrics)
    for part in slices:
        found |= {f"{name} where {part.column} is {part.value}": metric for name, metric in part.metrics.items()}
    return found


def metric_line(what: str, first: Metric | None, second: Metric | None) -> Difference:
    """A metric of both sides, with a note where their intervals lie apart."""
    apart = first is not None and second is not None and (first.high < second.low or second.high < first.low)
    note = "intervals apart" if apart else ""
    left, right = _interval(first), _interval(second)
    return Difference(what=what, first=left, second=right, same=left == right, note=note)


def _interval(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


def line(what: str, first: str, second: str, note: str = "") -> Difference:
    """A line of a comparison."""
    return Difference(what=what, first=first, second=second, same=first == second, note=note)


def _version(run: Run) -> str:
    return f"{run.model}@{run.version}" if run.version else run.status


def _seconds(run: Run) -> str:
    return f"{(run.ended - run.started).total_seconds():.1f}" if run.started and run.ended else ""


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def as_markdown(first: str, second: str, rows: list[Difference]) -> str:
    """A comparison as Markdown, for a review: what differs first, what is the same folded away."""
    other, same = ([row for row in rows if row.same is kept] for kept in (False, True))
    lines = [f"### {_cell(second)} beside {_cell(first)}", "", *_table(first, second, other)]
    if same:
        lines += ["", f"<details><summary>{len(same)} lines are the same</summary>", "", *_table(first, second, same)]
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _table(first: str, second: str, rows: list[Difference]) -> list[str]:
    head = ["| | " + " | ".join(map(_cell, (first, second, ""))) + " |", "| --- | --- | --- | --- |"]
    return head + ["| " + " | ".join(map(_cell, (row.what, row.first, row.second, row.note))) + " |" for row in rows]


def _cell(text: str) -> str:
    """A text in a cell: it can neither end the row nor be read as HTML, a link or an image."""
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{char}" if char in "\\|`*_[]!#~@" else char for char in plain)
