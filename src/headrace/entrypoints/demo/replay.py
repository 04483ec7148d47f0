"""The client process of the demo: flights in their own time order, as real requests; outcomes when they land.

``python -m headrace.entrypoints.demo.replay PROJECT SCORING CONSOLE LAST_DAY`` prints one JSON line a day.

One request for each scheduled hour holds its flights. At the end of a day its landed flights are added to the
project's data, and the client waits until the monitor has closed the day before: simulated time does not run away
from the loop. While a retraining is under way it waits too.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import polars as pl

MODEL = "late-arrival"
WAIT_SECONDS = 120.0
IDLE_SECONDS = 2.0


class World(NamedTuple):
    """The flights after April 2013 in replay order (2023 follows 2013), and the columns of a request."""

    flights: pl.DataFrame
    asked: list[str]
    columns: list[str]


def read_world(project: Path) -> World:
    """The world, by the project's own functions."""
    sys.path.insert(0, str(project))
    from flights.data import COLUMNS, history  # type: ignore[import-not-found]

    kept = [*COLUMNS, "landed_at"]
    later = history(2013).filter(pl.col("month") > 4).select(kept)
    flights = pl.concat([later, history(2023).filter(pl.col("month") <= 6).select(kept)])
    return World(flights, [name for name in COLUMNS if name != "late"], COLUMNS)


class Client:
    """One keep-alive connection; opened anew after a pause, since servers close what idles for some seconds."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._used = 0.0

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """The decoded reply.

        Raises:
            RuntimeError: any status but 200: the demo counts on every answer.
        """
        if time.monotonic() - self._used > IDLE_SECONDS:
            self._connection.close()
        body = json.dumps(document).encode() if document is not None else None
        self._connection.request(method, path, body, {"content-type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        self._used = time.monotonic()
        if response.status != 200:
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300].decode(errors='replace')}")
        return json.loads(content)


class Replay:
    """The replay of a world against a scoring server and a management API."""

    def __init__(self, world: World, project: Path, scoring: Client, console: Client) -> None:
        self._world = world
        self._landed = project / "landed"
        self._scoring = scoring
        self._console = console
        self._flying: list[tuple[datetime, str, bool]] = []

    def day(self, day: date, flights: pl.DataFrame) -> dict[str, Any]:
        """Replay one day and say what it took."""
        latencies, versions = [], {}
        for hour, part in flights.group_by(pl.col("scheduled_departure").dt.truncate("1h"), maintain_order=True):
            rows = part.select(self._world.asked).with_columns(pl.col("scheduled_departure").dt.to_string("iso:strict"))
            started = time.perf_counter()
            reply = self._scoring.call("POST", f"/models/{MODEL}/predict", {"rows": rows.to_dicts()})
            latencies.append(time.perf_counter() - started)
            versions[reply["version"]] = versions.get(reply["version"], 0) + 1
            ids = [f"{reply['id']}.{i}" for i in range(part.height)]
            self._flying += zip(part["landed_at"], ids, part["late"], strict=True)
            if hour[0].hour % 6 == 5:  # type: ignore[attr-defined]
                self._land(hour[0] + timedelta(hours=1))  # type: ignore[operator]
        midnight = datetime(day.year, day.month, day.day) + timedelta(days=1)  # noqa: DTZ001
        self._land(midnight)
        self._keep(day, flights)
        return {"day": str(day), "rows": flights.height, "latencies": latencies, "versions": versions}

    def _land(self, now: datetime) -> None:
        """Post the outcomes of the flights that have landed by now."""
        landed = [flight for flight in self._flying if flight[0] <= now]
        self._flying = [flight for flight in self._flying if flight[0] > now]
        if landed:
            rows = [{"prediction_id": i, "outcome": late, "time": at.isoformat()} for at, i, late in landed]
            self._console.call("POST", "/api/outcomes", {"rows": rows})

    def _keep(self, day: date, flights: pl.DataFrame) -> None:
        """Add the day to the project's data; what lands after midnight is known a little early, by hours."""
        self._landed.mkdir(exist_ok=True)
        flights.select(self._world.columns).write_parquet(self._landed / f"{day}.parquet")

    def wait(self, closed: date) -> dict[str, Any]:
        """Wait until the window of this day is closed and no retraining is under way; gives the loop's state."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            state = self._console.call("GET", f"/api/models/{MODEL}/progress")
            if state["runs"]:
                deadline = time.monotonic() + WAIT_SECONDS
            elif state["closed"] and state["closed"] > str(closed):
                return state
            time.sleep(0.02)
        raise RuntimeError(f"the window of {closed} was not closed within {WAIT_SECONDS:.0f} s")


def main(project: Path, scoring: str, console: str, last: date) -> None:
    """Replay day after day up to `last`."""
    world = read_world(project)
    replay = Replay(world, project, Client(scoring), Client(console))
    days = world.flights.with_columns(day=pl.col("scheduled_departure").dt.date())
    before: list[date] = []
    for part in days.partition_by("day", maintain_order=True):
        day = part["day"][0]
        if day > last:
            break
        told = replay.day(day, part)
        before.append(day)
        state = replay.wait(before[-3]) if len(before) >= 3 else {}
        print(json.dumps({**told, "state": state}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], date.fromisoformat(sys.argv[4]))
