"""What the fault tests do to a workspace, as a program: ``python acts.py ACT WORKSPACE``; 5 where it was not possible.

It runs under strace, which ends it, or fails one of its system calls, at every place where it changes the disk.
"""

import sys
from datetime import timedelta
from pathlib import Path

import polars as pl

import headrace
from headrace.kernel.errors import Unavailable

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.conftest import Threshold


def register(ws):
    example = pl.DataFrame({"minutes": [float(i % 60) for i in range(300)], "carrier": ["UA", "AA", "B6"] * 100})
    ws.register("late", Threshold(25.0), example=example)


def promote(ws):
    ws.promote("late@2", why="the fault test")


def gc(ws):
    ws.gc(timedelta(0))


def copy(ws):
    ws.copy(ws.places.root.with_name("copied"))


def snapshot(ws):
    ws.snapshots.take(
        "numbers", pl.DataFrame({"id": range(50), "x": [i * 0.5 for i in range(50)]}), keys=("id",), who="me"
    )


if __name__ == "__main__":
    try:
        globals()[sys.argv[1]](headrace.open(sys.argv[2]))
    except Unavailable as error:
        print(error.document(), flush=True)
        sys.exit(5)
