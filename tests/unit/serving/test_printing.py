"""Captures on standard output: a line for each row, whole whatever the pipe takes at a time, and nothing waits for it."""

import json
import os
import threading

from tests.conftest import eventually

from headrace.serving.capture import Captured
from headrace.serving.counters import Counters
from headrace.serving.printing import Printing, lines_of


def captured(rows=2, **more):
    fields = {
        "id": "a",
        "time": 1.5,
        "model": "late",
        "version": 3,
        "route": "live",
        "generation": 1,
        "latency": 0.25,
        "rows": rows,
        "features": {"minutes": [1.0 * i for i in range(rows)], "text": ['\n\u2028"' for _ in range(rows)]},
        "keys": {},
        "moments": [],
        "predictions": [True] * rows,
        "probabilities": [[0.25, 0.75]] * rows,
    }
    return Captured(**{**fields, **more})


def test_each_row_is_one_line_with_what_is_known_of_it():
    lines = [
        json.loads(line)
        for line in lines_of(captured(keys={"who": [7, 8]}, moments=["m", "n"], consumer="shop", first=4))
    ]
    assert [line["id"] for line in lines] == ["a.4", "a.5"]
    assert lines[1] == {
        "id": "a.5",
        "time": 1.5,
        "model": "late",
        "version": 3,
        "route": "live",
        "latency": 0.25,
        "consumer": "shop",
        "input": {"minutes": 1.0, "text": '\n\u2028"'},
        "key": {"who": 8},
        "moment": "n",
        "prediction": True,
        "probabilities": [0.25, 0.75],
    }
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines_of(captured()))
    (failed,) = lines_of(captured(predictions=[], probabilities=None, error="no"))
    assert json.loads(failed)["error"] == "no" and json.loads(failed)["rows"] == 2


def test_a_slow_reader_gets_all_of_it_and_holds_nobody_up():
    reading, writing = os.pipe()
    counters = Counters()
    printing = Printing(writing, counters)
    printing.start()
    for i in range(200):  # far more than a pipe holds
        assert printing.add([captured(50, id=str(i))])
    taken = bytearray()

    def read():
        while piece := os.read(reading, 1000):
            taken.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    printing.stop()
    os.close(writing)
    reader.join()
    os.close(reading)
    lines = taken.splitlines()
    assert len(lines) == 10_000 and json.loads(lines[-1])["id"] == "199.49"
    assert counters.captured == 10_000 and counters.dropped_captures == 0


def test_a_reader_that_is_gone_is_counted_and_ends_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    counters = Counters()
    printing = Printing(writing, counters)
    printing.start()
    printing.add([captured()])
    eventually(lambda: counters.dropped_captures == 2)
    printing.stop()
    os.close(writing)
