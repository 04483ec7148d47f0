"""Pictures as SVG text, so that a page and a self-contained report show the same without a script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 760, 200
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 14, 26
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7c3aed")


class Line(NamedTuple):
    """A named series: a value, or None for a gap, for each label."""

    name: str
    values: Sequence[float | None]
    dashed: bool = False
    colour: int | None = None
    """The place in `COLOURS`; by its position where it is not given."""


class Mark(NamedTuple):
    """A vertical mark at the label with this index."""

    at: int
    text: str


def line_chart(labels: Sequence[str], lines: Sequence[Line], marks: Sequence[Mark] = (), title: str = "") -> str:
    """Lines over common labels."""
    present = [v for line in lines for v in line.values if v is not None]
    if not present or len(labels) < 2:
        return f'<p class="quiet">{escape(title)}: nothing to draw yet.</p>'
    low, high = min(present), max(present)
    pad = (high - low or abs(high) or 1.0) * 0.06
    low, high = low - pad, high + pad

    def x(i: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * i / (len(labels) - 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    parts = [_axis_y(low + (high - low) * k / 3, y) for k in range(4)]
    parts += [_axis_x(labels[i], x(i)) for i in sorted({round((len(labels) - 1) * k / 4) for k in range(5)})]
    parts += [_mark(mark, x(mark.at)) for mark in marks if 0 <= mark.at < len(labels)]
    for n, line in enumerate(lines):
        parts.append(_path(line, _colour(n, line), x, y))
    legend = "".join(
        f'<span><i style="background:{_colour(n, line)}"></i>{escape(line.name)}</span>' for n, line in enumerate(lines)
    )
    body = "".join(parts)
    return (
        f'<figure class="chart"><figcaption>{escape(title)} <span class="legend">{legend}</span></figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{body}</svg></figure>'
    )


def parallel_chart(axes: Sequence[str], rows: Sequence[Sequence[float | None]], title: str = "") -> str:
    """Parallel coordinates: an axis for each name, a line for each row; the last axis colours."""
    if len(axes) < 2 or len(rows) < 2:
        return ""
    columns = [[row[i] for row in rows if row[i] is not None] for i in range(len(axes))]
    if any(not column for column in columns):
        return ""
    ranges = [(min(c), max(c)) for c in columns]  # type: ignore[type-var]

    def place(i: int, value: float) -> tuple[float, float]:
        low, high = ranges[i]
        share = 0.5 if high == low else (value - low) / (high - low)
        return LEFT + (WIDTH - 2 * LEFT) * i / (len(axes) - 1), TOP + 16 + (HEIGHT - TOP - BOTTOM - 16) * (1 - share)

    parts = []
    for i, name in enumerate(axes):
        x = place(i, ranges[i][0])[0]
        low, high = ranges[i]
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP + 16}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP}" text-anchor="middle">{escape(name)}</text>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{low:.4g} … {high:.4g}</text>')
    best_low, best_high = ranges[-1]
    for row in rows:
        if any(value is None for value in row):
            continue
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in (place(i, v) for i, v in enumerate(row)))  # type: ignore[arg-type]
        share = 0.5 if best_high == best_low else (row[-1] - best_low) / (best_high - best_low)  # type: ignore[operator]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{COLOURS[0]}" stroke-width="2" '
            f'stroke-opacity="{0.25 + 0.75 * share:.2f}"/>'
        )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _colour(position: int, line: Line) -> str:
    return COLOURS[(position if line.colour is None else line.colour) % len(COLOURS)]


def _axis_y(value: float, y) -> str:
    at = y(value)
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
        f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )


def _axis_x(label: str, x: float) -> str:
    anchor = "start" if x < LEFT + 20 else "end" if x > WIDTH - 60 else "middle"
    return f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(label)}</text>'


def _mark(mark: Mark, x: float) -> str:
    return (
        f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
        f"<title>{escape(mark.text)}</title></line>"
        f'<text class="marktext" x="{x + 3:.1f}" y="{TOP + 8}">{escape(mark.text[:18])}</text>'
    )


def _path(line: Line, colour: str, x, y) -> str:
    pieces, pen = [], "M"
    for i, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        pieces.append(f"{pen}{x(i):.1f},{y(value):.1f}")
        pen = "L"
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    return f'<path d="{" ".join(pieces)}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
