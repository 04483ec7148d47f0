"""Durable execution by DBOS: whoever asks only enqueues; workers execute, and take over from the dead.

DBOS leaves liveness to us. Each worker has an id of its own and renews a lease; only when a lease has run out (or
its process is seen dead on this host) does another worker take its runs, by an update that cannot take a live one's.
One fixed application version keeps an upgrade from orphaning runs. Steps return plain JSON, so that nothing of
ours is pickled into the state of a run. DBOS is imported where it is used: it costs 0.4 s.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from polars.exceptions import PanicException

from headrace.kernel.errors import Fault, HeadraceError
from headrace.kernel.places import Places
from headrace.training import pipeline, prove
from headrace.training.metrics import HIGHER_IS_BETTER, PRIMARY
from headrace.training.pipeline import Rooms
from headrace.training.runs import Asked

APPLICATION, VERSION = "headrace", "1"
RUNS, TRIALS = "runs", "trials"
POLL_SECONDS = 0.1
MOST_RECOVERIES = 20

Work = Callable[[Rooms, str, Asked, dict[str, Any]], dict[str, Any]]
STEPS: dict[str, Work] = {
    "snapshot": lambda rooms, run, asked, _made: pipeline.snapshot(rooms, run, asked),
    "train": pipeline.train,
    "evaluate": pipeline.evaluate,
    "register": pipeline.register,
    "gather": prove.gather,
    "environment": prove.environment,
    "first": lambda rooms, run, asked, made: prove.train_again(rooms, run, asked, made, "first"),
    "second": lambda rooms, run, asked, made: prove.train_again(rooms, run, asked, made, "second"),
    "compare": prove.compare,
}
TRIAL = ("snapshot", "train", "evaluate")
TRAINING = (*TRIAL, "register")
PROVING = ("gather", "environment", "first", "second", "compare")
DEPLOYING = "deploy to "
"""What the steps of a deployment are called, before the name of the target."""


def enqueue(places: Places, run: str, asked: Asked) -> None:
    """Hand a run to the workers; handing it over again changes nothing."""
    from dbos import DBOSClient

    prepare(places)
    client = DBOSClient(system_database_url=places.durable, application_name=APPLICATION)
    try:
        workflow = asked.kind if asked.kind in ("sweep", "prove", "deploy") else "run"
        options: Any = {"workflow_name": workflow, "queue_name": RUNS, "workflow_id": run, "app_version": VERSION}
        client.enqueue(options, run, msgspec.json.encode(asked).decode())
    finally:
        client.destroy()


def prepare(places: Places) -> None:
    """Make the state's tables where there are none: in PostgreSQL a schema of their own, else a file in WAL mode."""
    file = places.durable_file
    if not places.embedded:
        _prepare_schema(places.durable)
        return
    if file.exists():
        return
    from dbos import DBOS

    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return
        draft = file.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        DBOS.migrate(_url(draft))
        connection = sqlite3.connect(draft)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        draft.rename(file)


@functools.cache
def _prepare_schema(url: str) -> None:
    from dbos import DBOS

    DBOS.migrate(url)


def _url(file: Path) -> str:
    return f"sqlite:///{file.resolve()}"


class DurableWorker:
    """Executes runs in this process, `concurrency` runs and two trials at a time."""

    def __init__(self, rooms: Rooms, executor: str, concurrency: int = 1) -> None:
        self._rooms = rooms
        self._executor = executor
        self._concurrency = concurrency
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin to take runs from the queue."""
        from dbos import DBOS

        prepare(self._rooms.places)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_url": self._rooms.places.durable,
                "executor_id": self._executor,
                "application_version": VERSION,
                "enable_otlp": False,
                "log_level": "CRITICAL",
                "notification_listener_polling_interval_sec": POLL_SECONDS,
            }
        )

        def workflow(name: str, method: Callable[[str, str], dict[str, Any]]) -> Any:
            return DBOS.workflow(name=name, max_recovery_attempts=MOST_RECOVERIES)(
                lambda run, asked: method(run, asked)
            )

        workflow("run", self._run)
        workflow("prove", self._prove)
        workflow("deploy", self._deploy)
        self._trial = workflow("trial", self._execute_trial)
        workflow("sweep", self._sweep)
        DBOS.listen_queues([RUNS, TRIALS])
        DBOS.launch()
        for queue, at_once in ((RUNS, self._concurrency), (TRIALS, 2)):
            DBOS.register_queue(
                queue, worker_concurrency=at_once, polling_interval_sec=POLL_SECONDS, on_conflict="always_update"
            )

    def take_over(self, dead: list[str]) -> int:
        """Take the runs of executors that are known to be dead; gives their number."""
        from dbos import DBOS

        with self._lock:
            return len(DBOS._recover_pending_workflows(dead)) if dead else 0

    def stop(self) -> None:
        """Take no more runs; one that is running here is taken over by the next worker."""
        from dbos import DBOS

        DBOS.destroy()

    def _run(self, run: str, document: str) -> dict[str, Any]:
        asked = msgspec.json.decode(document, type=Asked)
        return self._guarded(run, lambda: self._steps(run, asked, TRAINING))

    def _prove(self, run: str, document: str) -> dict[str, Any]:
        asked = msgspec.json.decode(document, type=Asked)
        return self._guarded(run, lambda: self._steps(run, asked, PROVING))

    def _deploy(self, run: str, document: str) -> dict[str, Any]:
        asked = msgspec.json.decode(document, type=Asked)
        names = tuple(f"{DEPLOYING}{target}" for target in asked.params["targets"])
        return self._guarded(run, lambda: self._steps(run, asked, names))

    def _execute_trial(self, run: str, document: str) -> dict[str, Any]:
        asked = msgspec.json.decode(document, type=Asked)
        return self._guarded(run, lambda: self._steps(run, asked, TRIAL))

    def _guarded(self, run: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        from dbos import DBOS

        DBOS.run_step({"name": "begin"}, lambda: self._begin(run))
        made = work()
        failed = "error" in made
        DBOS.run_step({"name": "end"}, lambda: self._end(run, made))
        return {"ok": not failed}

    def _begin(self, run: str) -> None:
        self._rooms.runs.begin(run)
        self._rooms.lineage.began(self._rooms.runs.get(run))

    def _end(self, run: str, made: dict[str, Any]) -> None:
        self._rooms.runs.end(run, "failed" if "error" in made else "done", made.get("error"))
        self._rooms.lineage.ended(self._rooms.runs.get(run))

    def _steps(self, run: str, asked: Asked, names: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for position, name in enumerate(names):
            state = made
            work = self._step(run, name, position, lambda n=name, s=state: self._work(n, run, asked, s))
            made = {**made, **work}
            if "error" in made or "unchanged" in made:
                break
        return made

    def _work(self, name: str, run: str, asked: Asked, made: dict[str, Any]) -> dict[str, Any]:
        if name.startswith(DEPLOYING):
            return self._rooms.deploy(run, asked, name.removeprefix(DEPLOYING))
        return STEPS[name](self._rooms, run, asked, made)

    def _step(self, run: str, name: str, position: int, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """One durable step. Its own record makes it safe even where a crash fell between its end and DBOS's note."""
        from dbos import DBOS

        def once() -> dict[str, Any]:
            finished = self._rooms.runs.begin_step(run, name, position, self._executor)
            if finished is not None:
                return finished
            try:
                made = work()
                places = self._rooms.places
                places.objects.share(places.runs / run, deep=False)
            except HeadraceError as error:
                self._rooms.runs.fail_step(run, name, str(error))
                return {"error": error.document()}
            except (Exception, PanicException) as error:
                fault = Fault(f"Step {name} failed: {type(error).__name__}: {error}.", todo="Please report this.")
                self._rooms.runs.fail_step(run, name, str(fault))
                return {"error": fault.document()}
            note = made.pop("note", "")
            self._rooms.runs.end_step(run, name, made, note)
            return made

        return DBOS.run_step({"name": name}, once)

    def _sweep(self, run: str, document: str) -> dict[str, Any]:
        asked = msgspec.json.decode(document, type=Asked)
        return self._guarded(run, lambda: self._trials(run, asked))

    def _trials(self, run: str, asked: Asked) -> dict[str, Any]:
        """Each combination as a run of its own, side by side; the best of them is registered."""
        from dbos import DBOS, SetWorkflowID

        handles, trials = [], []
        for i, values in enumerate(itertools.product(*asked.sweep.values())):
            params = {**asked.params, **dict(zip(asked.sweep, values, strict=True))}
            trial = msgspec.structs.replace(asked, kind="trial", params=params, sweep={})
            trials.append((f"{run}-{i}", trial))
            DBOS.run_step({"name": "add"}, lambda t=trial, i=i: self._rooms.runs.add(t, run, f"{run}-{i}"))
            with SetWorkflowID(f"{run}-{i}"):
                handles.append(
                    DBOS.enqueue_workflow(TRIALS, self._trial, f"{run}-{i}", msgspec.json.encode(trial).decode())
                )
        for handle in handles:
            handle.get_result(polling_interval_sec=POLL_SECONDS)
        best = DBOS.run_step({"name": "choose"}, lambda: self._best([trial for trial, _ in trials]))
        if not best:
            return {
                "error": Fault("Every trial of the sweep failed.", todo="See the trials: headrace runs.").document()
            }
        chosen = dict(trials)[best]
        return self._steps(run, msgspec.structs.replace(chosen, kind="train"), TRAINING)

    def _best(self, trials: list[str]) -> str:
        found = [(run, self._rooms.runs.get(run).evaluation) for run in trials]
        scored = [(run, e.metrics) for run, e in found if e is not None]
        if not scored:
            return ""
        primary = next(name for name in (*PRIMARY.values(), *HIGHER_IS_BETTER) if name in scored[0][1])
        sign = 1 if HIGHER_IS_BETTER[primary] else -1
        return max(scored, key=lambda item: sign * item[1][primary].value)[0]
