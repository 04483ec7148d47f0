"""The demo's scene of proof: somebody slips flights into the source, and the proof names them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from rich.console import Console

from headrace.data.snapshots import Snapshots
from headrace.entrypoints.cli.project import write_project
from headrace.kernel.records import Version
from headrace.workspace import Workspace

INJECTED = 500


def inject(snapshots: Snapshots, version: Version, project: Path) -> None:
    """A copy of the example project whose source has flights too many: February's, said to have been late."""
    write_project(project, "flights")
    known = snapshots.read(snapshots.get(version.lineage.snapshot))
    february = known.filter(pl.col("scheduled_departure").dt.month() == 2).head(INJECTED)
    forged = february.with_columns(flight_id=pl.col("flight_id") + "-x", late=pl.lit(True))
    (project / "landed").mkdir(exist_ok=True)
    forged.write_parquet(project / "landed" / "0000.parquet")


def tell_proof(ws: Workspace, version: Version, console: Console) -> list[str]:
    """Train with the source into which flights were slipped, and say what the proof names; gives what fell short."""
    project = ws.places.root / "flights-injected"
    inject(ws.snapshots, version, project)
    proof = ws.prove(version.reference, same_environment=True, project=project)
    console.print(f"  trained again twice, level {proof.level}; what diverged first is")
    console.print(f"  [red]{proof.diverged}[/]", soft_wrap=True)
    named = proof.diverged.startswith(f"data: {INJECTED} rows added") and "-x" in proof.diverged
    return [] if named else [f"the injected rows were not named: {proof.diverged}"]
