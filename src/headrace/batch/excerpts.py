"""A chunk of a source as bytes of its own, for a machine that does not see the file, and the plan that fits to it.

Blocks stay what they are, so that what stands in them is read in the same way and gives the same answers.
"""

from __future__ import annotations

import io
from pathlib import Path

import msgspec

from headrace.batch.job import Chunk, Plan
from headrace.batch.reading import bytes_between, rows_between
from headrace.batch.sources import TEXTS
from headrace.batch.stamps import stamp


def excerpt(plan: Plan, chunk: Chunk) -> bytes:
    """What stands in a chunk: bytes of a text, or an Arrow file of a table's rows.

    Raises:
        Conflict: the source changed since it was planned, or is gone.
    """
    it = plan.inputs[chunk.input]
    start, end = _bounds(plan, chunk)
    if it.format in TEXTS:
        return bytes_between(it, start, end)
    written = io.BytesIO()
    rows_between(it, start, end).write_ipc(written)
    return written.getvalue()


def placed(plan: Plan, chunk: Chunk, path: Path) -> tuple[Plan, Chunk]:
    """The plan and the chunk for its excerpt in the file `path`."""
    it = plan.inputs[chunk.input]
    start, end = _bounds(plan, chunk)
    here = msgspec.structs.replace(
        it,
        path=str(path),
        inside=False,
        format=it.format if it.format in TEXTS else "arrow",
        stamp=stamp(path),
        blocks=tuple((place - start, number) for place, number in it.blocks[chunk.first : chunk.last]),
        end=end - start,
    )
    return (
        msgspec.structs.replace(plan, inputs=(here,)),
        msgspec.structs.replace(chunk, input=0, first=0, last=chunk.last - chunk.first),
    )


def _bounds(plan: Plan, chunk: Chunk) -> tuple[int, int]:
    it = plan.inputs[chunk.input]
    end = it.blocks[chunk.last][0] if chunk.last < len(it.blocks) else it.end
    return it.blocks[chunk.first][0], end
