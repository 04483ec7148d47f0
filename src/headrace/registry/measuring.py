"""What a version costs: the size of its bundle, and the time of one row."""

from __future__ import annotations

import time
from pathlib import Path

from headrace.kernel.ports import Scorer
from headrace.kernel.records import Version
from headrace.kernel.schema import example_row

TIMES = {"graph": 200, "reference": 20}


def bundle_size(folder: Path) -> int:
    """The bytes of all files of a bundle."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def row_seconds(version: Version, scorer: Scorer) -> float:
    """Seconds for one row, without network; the middle of some."""
    row = example_row(version.schema)
    columns = {column.name: [row.get(column.name)] for column in version.schema.features}
    taken: list[float] = []
    for _ in range(TIMES[version.runtime]):
        began = time.perf_counter()
        scorer.answer(columns, 1)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]
