"""The report of a scheduled job, as HTML and Excel: its figures, how its answers are spread, and what changed since the
last one. No value of a row is in it."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec

from headrace.batch.figures import Figures, stability
from headrace.batch.job import Job
from headrace.batch.sources import need
from headrace.kernel.objects import Objects
from headrace.kernel.records import Record

HTML, EXCEL, FIGURES = "report.html", "report.xlsx", "figures.json"
SOME, MUCH = 0.1, 0.2
"""From these stability indices on a spread is commonly said to have changed somewhat, and much (Siddiqi, Credit Risk
Scorecards, 2006)."""


class JobSummary(Record, frozen=True, kw_only=True):
    """What is kept of a job for the report of the next one."""

    version: int
    read: int
    scored: int
    rejected: int
    fields: dict[str, int]
    figures: Figures


class Line(NamedTuple):
    """A figure now, before, and how it changed."""

    name: str
    now: str
    before: str
    change: str


def summarised(job: Job, scored: int, rejects: Iterable[str], figures: Figures) -> JobSummary:
    """What a report says of a job.

    Args:
        rejects: the field of each row that was rejected.
    """
    fields = dict(Counter(rejects).most_common(20))
    rejected = sum(fields.values())
    version, read = job.version, scored + rejected
    return JobSummary(version=version, read=read, scored=scored, rejected=rejected, fields=fields, figures=figures)


def write_report(objects: Objects, folder: Path, job: Job, now: JobSummary, before: JobSummary | None) -> list[Path]:
    """Write the report of a job; gives its files.

    Raises:
        StorageUnavailable: there is no room.
    """
    objects.put(folder / FIGURES, msgspec.json.encode(now))
    objects.put(folder / HTML, as_html(job, now, before).encode())
    objects.put(folder / EXCEL, as_workbook(job, now, before))
    return [folder / HTML, folder / EXCEL]


def read_summary(objects: Objects, folder: Path) -> JobSummary | None:
    """What was kept of a job."""
    path = objects.need(folder / FIGURES)
    return msgspec.json.decode(path.read_bytes(), type=JobSummary) if path.exists() else None


def in_words(now: JobSummary, before: JobSummary | None) -> str:
    """The report in a sentence or two."""
    said = f"{now.read:,} rows read, {now.scored:,} scored, {now.rejected:,} rejected by version {now.version}."
    moved = stability(before.figures, now.figures) if before is not None else None
    if moved is None:
        return f"{said} There is nothing to compare with yet." if before is None else said
    how = "much as" if moved < SOME else "somewhat otherwise than" if moved < MUCH else "quite otherwise than"
    return f"{said} Answers are spread {how} last time (stability index {moved:.3f})."


def lines_of(now: JobSummary, before: JobSummary | None) -> list[Line]:
    """The figures, side by side with those of the last time."""
    found = [
        Line("version", str(now.version), str(before.version) if before else "", ""),
        _line("rows read", now.read, before.read if before else None),
        _line("rows scored", now.scored, before.scored if before else None),
        _line("rows rejected", now.rejected, before.rejected if before else None),
    ]
    if now.figures.mean is not None:
        name = "mean probability" if now.figures.classes else "mean prediction"
        found.append(_line(name, now.figures.mean, before.figures.mean if before else None))
    moved = stability(before.figures, now.figures) if before is not None else None
    return [*found, Line("stability index", "" if moved is None else f"{moved:.3f}", "", "")]


def as_html(job: Job, now: JobSummary, before: JobSummary | None) -> str:
    """The report as one page that needs nothing else."""
    source = Path(__file__).with_name("report.html.j2").read_text()
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    return template.render(
        title=f"{job.model}: {job.options.schedule or 'job'}, {job.created:%Y-%m-%d}",
        summary=in_words(now, before),
        figures=lines_of(now, before),
        spreads=_spreads(now, before),
        rejects=list(now.fields.items()),
        source=job.source,
        destination=job.destination,
        job=job.id,
    )


def as_workbook(job: Job, now: JobSummary, before: JobSummary | None) -> bytes:
    """The report as a workbook: sheets of figures, answers and rejected rows."""
    library = need("xlsxwriter", "A report")
    written = io.BytesIO()
    plain = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with library.Workbook(written, plain) as book:
        book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001 - the same figures give the same bytes
        sheet = book.add_worksheet("figures")
        _rows(sheet, [("", "this time", "last time", "change"), *lines_of(now, before)])
        sheet.set_column(0, 3, 20)
        for part in _spreads(now, before):
            sheet = book.add_worksheet(part["title"][:31])
            rows = [(row["name"], row["count"], row["share"], row["before"]) for row in part["rows"]]
            _rows(sheet, [(part["what"], "rows", "share", "last time"), *rows])
            chart = book.add_chart({"type": "bar"})
            last = len(rows)
            name = part["title"][:31]
            chart.add_series({"categories": [name, 1, 0, last, 0], "values": [name, 1, 1, last, 1], "name": "rows"})
            sheet.insert_chart("F2", chart)
        _rows(book.add_worksheet("rejected"), [("field", "rows"), *now.fields.items()])
    return written.getvalue()


def _rows(sheet: Any, rows: Iterable[Iterable[Any]]) -> None:
    for place, row in enumerate(rows):
        sheet.write_row(place, 0, list(row))


def _line(name: str, now: float, before: float | None) -> Line:
    def shown(value: float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"

    if before is None:
        return Line(name, shown(now), "", "")
    change = now - before
    return Line(name, shown(now), shown(before), f"{'+' if change > 0 else ''}{shown(change)}" if change else "")


def _spreads(now: JobSummary, before: JobSummary | None) -> list[dict[str, Any]]:
    found = []
    old = before.figures if before is not None else Figures()
    if now.figures.classes:
        names = [*now.figures.classes, *(name for name in old.classes if name not in now.figures.classes)]
        pairs = [(name, now.figures.classes.get(name, 0), old.classes.get(name, 0)) for name in names]
        found.append(_spread("Predictions", "prediction", pairs, bool(old.classes)))
    if now.figures.counts:
        alike = old.edges == now.figures.edges
        counts = old.counts if alike else (0,) * len(now.figures.counts)
        pairs = list(zip(_bins(now.figures.edges), now.figures.counts, counts, strict=True))
        found.append(_spread("Probabilities" if now.figures.classes else "Answers", "between", pairs, alike))
    return found


def _spread(title: str, what: str, pairs: list[tuple[str, int, int]], known: bool) -> dict[str, Any]:
    total, before = sum(count for _, count, _ in pairs) or 1, sum(count for *_, count in pairs) or 1
    rows = [
        {
            "name": name,
            "count": count,
            "share": f"{100 * count / total:.1f} %",
            "before": f"{100 * old / before:.1f} %" if known else "",
            "width": round(100 * count / total, 2),
            "was": round(100 * old / before, 2) if known else None,
        }
        for name, count, old in pairs
    ]
    return {"title": title, "what": what, "rows": rows}


def _bins(edges: tuple[float, ...]) -> list[str]:
    named = [f"{edge:.4g}" for edge in edges]
    middle = [f"{low} to {high}" for low, high in itertools.pairwise(named)]
    return [f"below {named[0]}", *middle, f"{named[-1]} and above"]
