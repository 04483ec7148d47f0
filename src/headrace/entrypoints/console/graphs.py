"""A graph of lineage as SVG text: a column for each kind of thing, an arrow for each relation."""

from __future__ import annotations

from html import escape

from headrace.kernel.records import Graph, Node

ORDER = ("snapshot", "code", "run", "version", "promotion", "route", "predictions")
WIDE, HIGH, GAP_X, GAP_Y = 170, 34, 70, 14
LONGEST = 24


def lineage_chart(graph: Graph) -> str:
    """The graph from left to right: what something was made of stands to the left of it."""
    kinds = sorted({node.kind for node in graph.nodes}, key=_place)
    columns = [[node for node in graph.nodes if node.kind == kind] for kind in kinds]
    at = {
        node.id: (8 + i * (WIDE + GAP_X), 26 + j * (HIGH + GAP_Y))
        for i, column in enumerate(columns)
        for j, node in enumerate(column)
    }
    width = 16 + len(columns) * (WIDE + GAP_X) - GAP_X
    height = 34 + max(map(len, columns), default=0) * (HIGH + GAP_Y)
    heads = "".join(f'<text x="{8 + i * (WIDE + GAP_X)}" y="14">{escape(kind)}</text>' for i, kind in enumerate(kinds))
    arrows = "".join(_arrow(at[e.begin], at[e.end], e.what) for e in graph.edges if e.begin in at and e.end in at)
    boxes = "".join(_box(node, *at[node.id]) for node in graph.nodes)
    return (
        f'<figure class="chart"><svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" '
        f'aria-label="lineage"><defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>{heads}{arrows}{boxes}</svg></figure>'
    )


def _place(kind: str) -> tuple[int, str]:
    return (ORDER.index(kind) if kind in ORDER else len(ORDER), kind)


def _box(node: Node, x: int, y: int) -> str:
    label = node.label if len(node.label) <= LONGEST else f"{node.label[: LONGEST - 1]}…"
    frame = f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5" fill="none" stroke="currentColor"/>'
    text = f'<text x="{x + 8}" y="{y + 21}">{escape(label)}</text>'
    return f"<g><title>{escape(node.id)}: {escape(node.label)}</title>{frame}{text}</g>"


def _arrow(begin: tuple[int, int], end: tuple[int, int], what: str) -> str:
    """From the side of one box that faces the other; within a column, around it."""
    forward = begin[0] <= end[0]
    x1 = begin[0] + (WIDE if forward or begin[0] == end[0] else 0)
    x2 = end[0] + (0 if begin[0] < end[0] else WIDE)
    y1, y2 = begin[1] + HIGH // 2, end[1] + HIGH // 2
    bend = 30 if begin[0] == end[0] else (x2 - x1) // 2
    turn = f"C{x1 + bend} {y1} {x2 + bend if begin[0] == end[0] else x2 - bend} {y2} {x2} {y2}"
    return (
        f'<path d="M{x1} {y1}{turn}" fill="none" stroke="currentColor" opacity="0.5" marker-end="url(#tip)">'
        f"<title>{escape(what)}</title></path>"
    )
