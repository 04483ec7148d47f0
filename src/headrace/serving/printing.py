"""Captures on standard output, a line of JSON for each row: for a container whose platform gathers what it prints.

They go through the same bounded buffer as those of segments, so that a reply does not wait for who reads them.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from headrace.serving.capture import Capture, Captured
from headrace.serving.counters import Counters
from headrace.serving.segments import unframed

_decoder = msgspec.msgpack.Decoder(list[Captured])


class Printing(Capture):
    """The buffer of one scoring process, and the thread that prints it to the descriptor `output`."""

    def __init__(self, output: int, counters: Counters) -> None:
        super().__init__(Path(), Path(), counters)
        self._output = output

    def start(self) -> None:
        """Begin to print."""
        self._thread.start()

    def stop(self) -> None:
        """Print what is buffered."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _write(self, records: list[bytes], roll: bool) -> None:
        lines = (line for record in records for one in _decoder.decode(unframed(record)) for line in lines_of(one))
        content = b"".join(lines)
        while content:
            content = content[os.write(self._output, content) :]


def lines_of(it: Captured) -> list[bytes]:
    """The rows of a request, each as a line of JSON: with its id, its input and its answer, or why there is none."""
    about = {"time": it.time, "model": it.model, "version": it.version, "route": it.route, "latency": it.latency}
    about |= {"consumer": it.consumer} if it.consumer else {}
    if it.error:
        return [_line({"id": it.id, **about, "rows": it.rows, "error": it.error})]
    rows = []
    for i in range(it.rows):
        row = {
            "id": f"{it.id}.{it.first + i}",
            **about,
            "input": {name: values[i] for name, values in it.features.items()},
        }
        row |= {"key": {name: values[i] for name, values in it.keys.items()}} if it.keys else {}
        row |= {"moment": it.moments[i]} if it.moments else {}
        row["prediction"] = it.predictions[i]
        row |= {"probabilities": it.probabilities[i]} if it.probabilities is not None else {}
        rows.append(_line(row))
    return rows


def _line(row: dict[str, object]) -> bytes:
    return msgspec.json.encode(row) + b"\n"
