"""Where a version comes from and where it went, both ways: snapshot → run → version → route → predictions."""

from __future__ import annotations

import sqlalchemy as sa

from headrace.kernel import tables
from headrace.kernel.errors import NotFound
from headrace.kernel.records import Edge, Graph, Node, Version
from headrace.retraining.loop import Rooms


class _Drawing:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.edges: list[Edge] = []

    def node(self, kind: str, name: str, label: str) -> str:
        key = f"{kind}:{name}"
        self.nodes.setdefault(key, Node(id=key, kind=kind, label=label))
        return key

    def edge(self, begin: str, end: str, what: str) -> None:
        edge = Edge(begin=begin, end=end, what=what)
        if edge not in self.edges:
            self.edges.append(edge)


def lineage_graph(rooms: Rooms, subject: str) -> Graph:
    """The graph around a version (``m@3``), a model, or a snapshot (its digest, or the beginning of one).

    Raises:
        NotFound: there is no such thing.
    """
    drawing = _Drawing()
    for version in _versions(rooms, subject):
        _draw(rooms, drawing, version)
    return Graph(nodes=tuple(drawing.nodes.values()), edges=tuple(drawing.edges))


def _versions(rooms: Rooms, subject: str) -> list[Version]:
    if "@" in subject:
        return [rooms.versions.get(subject)]
    if subject in rooms.versions.models():
        return rooms.versions.list(subject, 50)
    at, run = tables.versions.c, tables.runs.c
    query = (
        sa.select(at.model, at.number)
        .join(tables.runs, run.id == at.run)
        .where(run.snapshot.startswith(subject, autoescape=True))
    )
    with rooms.database.read() as connection:
        found = [f"{row.model}@{row.number}" for row in connection.execute(query)] if subject else []
    if not found:
        raise NotFound(
            f"Nothing was made of {subject!r}.",
            expected="a version, a model, or the digest of a snapshot",
            todo="See 'headrace models' and 'headrace data list'.",
        )
    return [rooms.versions.get(reference) for reference in found]


def _draw(rooms: Rooms, drawing: _Drawing, version: Version) -> None:
    lineage = version.lineage
    here = drawing.node("version", version.reference, f"{version.reference} {version.digest[:12]}")
    run = drawing.node("run", lineage.run, f"run {lineage.run[-12:]}")
    drawing.edge(run, here, "made")
    if lineage.snapshot:
        label = f"{lineage.dataset} {lineage.snapshot[:12]}"
        drawing.edge(drawing.node("snapshot", lineage.snapshot, label), run, "was read by")
    if lineage.code:
        label = f"{lineage.project} {lineage.code[:12]} {lineage.commit[:12]}".strip()
        drawing.edge(drawing.node("code", lineage.code, label), run, "was run by")
    moves = [p for p in rooms.promotions.history(version.name) if p.number == version.number]
    for move in moves:
        label = f"{move.alias} by {move.who}, {move.time:%Y-%m-%d %H:%M}: {move.why[:60]}"
        drawing.edge(here, drawing.node("promotion", f"{version.reference}:{move.time.isoformat()}", label), "became")
    answers = sum(w.answers for w in rooms.windows.list(version.name) if w.number == version.number)
    if answers:
        route = drawing.node("route", version.name, f"endpoint {version.name}")
        drawing.edge(here, route, "answers at")
        drawing.edge(
            route, drawing.node("predictions", version.reference, f"{answers:,} by {version.reference}"), "gave"
        )
