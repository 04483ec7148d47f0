"""What all tests share: an empty workspace, a small fitted model, and processes that end with the test."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

import headrace
from tests.servers import Shared, shared_servers

EXAMPLES = Path(headrace.__file__).parent / "examples"


SHARED: list[Shared] = []
"""The servers on which every workspace of this session is made; none where each is a folder."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is about the files of one folder has no sense on shared storage."""
    if on_shared_storage():
        kept = [item for item in items if not item.get_closest_marker("embedded")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def on_shared_storage() -> bool:
    """Whether this session makes its workspaces on PostgreSQL and object storage."""
    return os.environ.get("HEADRACE_TEST_WORKSPACE") == "shared"


@pytest.fixture(scope="session", autouse=True)
def shared_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Start the servers, where this session asks for them."""
    if not on_shared_storage():
        yield
        return
    folder = tmp_path_factory.mktemp("servers")
    with shared_servers(folder) as servers, pytest.MonkeyPatch.context() as patch:
        for name, value in {**servers.environment, "HEADRACE_CACHE": str(folder / "cache")}.items():
            patch.setenv(name, value)
        SHARED.append(servers)
        yield
        SHARED.clear()


def address(folder: Path) -> str:
    """What opens a new workspace: `folder`, or where this session has servers, a new place on them."""
    if os.environ.get("HEADRACE_TEST_WORKSPACE") == "later":
        headrace.open(folder).close()
        reshape_as_later(f"sqlite:///{folder}/headrace.db")
    return SHARED[0].fresh() if SHARED else str(folder)


def reshape_as_later(url: str) -> None:
    """Change the shape of a database as a later release might that lets this one go on."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE later (id INTEGER PRIMARY KEY, note TEXT NOT NULL)"))
        for table in ("versions", "runs", "keys", "people", "alarms", "aliases", "audit"):
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN later TEXT"))
            connection.execute(sa.text(f"ALTER TABLE {table} ADD COLUMN counted INTEGER NOT NULL DEFAULT 7"))
        connection.execute(sa.text("CREATE INDEX versions_later ON versions (later)"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Any]:
    """An empty workspace."""
    workspace = headrace.open(address(tmp_path / "ws"))
    yield workspace
    workspace.close()


class Threshold:
    """A model small enough to read: later than `limit` minutes is late."""

    classes_ = (False, True)

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def predict_proba(self, frame: pl.DataFrame) -> list[list[float]]:
        """The share grows with the minutes; no minutes count as none."""
        minutes = frame["minutes"].fill_null(0.0).to_list()
        shares = [min(max(m / (2 * self.limit), 0.0), 1.0) for m in minutes]
        return [[1 - s, s] for s in shares]

    def predict(self, frame: pl.DataFrame) -> list[bool]:
        """Past the limit."""
        if "explode" in frame["carrier"].to_list():
            raise ValueError("this carrier explodes")
        return [m > self.limit for m in frame["minutes"].fill_null(0.0).to_list()]


EXAMPLE_ROWS = pl.DataFrame(
    {
        "minutes": [float(i % 60) if i % 9 else None for i in range(300)],
        "carrier": ["UA", "AA", "B6"] * 100,
    }
)
"""Rows for `Threshold`."""


@pytest.fixture
def example() -> pl.DataFrame:
    """Rows for `Threshold`."""
    return EXAMPLE_ROWS


@pytest.fixture
def registered(ws: Any, example: pl.DataFrame) -> Any:
    """A workspace with `late@1`, live."""
    ws.register("late", Threshold(30.0), example=example)
    ws.promote("late@1")
    return ws


def headrace_command(
    *words: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
        check=False,
    )


@pytest.fixture
def run_headrace() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The program, run to its end."""
    return headrace_command


@contextlib.contextmanager
def start(*words: str, env: dict[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """A server of the program: what it announces, with its process, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(env or {})},
    )
    assert process.stdout is not None
    try:
        yield {**json.loads(process.stdout.readline()), "process": process}
    finally:
        process.terminate()
        process.wait(40)
        process.stdout.close()


@pytest.fixture
def start_headrace() -> Iterator[Callable[..., dict[str, Any]]]:
    """Start a server of the program and give what it announces, with its process; it ends with the test."""
    with contextlib.ExitStack() as running:
        yield lambda *words, env=None: running.enter_context(start(*words, env=env))


def call(method: str, url: str, document: Any = None) -> tuple[int, Any]:
    """One HTTP request: its status and its decoded body."""
    body = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def eventually(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Poll until `what` gives something true, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not become true within {seconds} s")
