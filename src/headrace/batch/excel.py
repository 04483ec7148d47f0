"""Reading a workbook, in a process of its own: its reader lays out every cell up to the last one, so that a small file
that says it has a cell in the farthest corner would take all memory, and the process with it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from headrace.kernel.errors import InvalidInput

MEMORY = 6 << 30
"""Bytes of address space that the process may have."""
SECONDS = 600


def to_parquet(source: Path, target: Path, name: str) -> None:
    """Write the first sheet of a workbook as a table; of a column of several types every cell is a text.

    Raises:
        InvalidInput: it is no workbook with a header, or too large.
    """
    command = [sys.executable, "-m", "headrace.batch.excel", str(source), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        failed = done.returncode != 0
        said = done.stderr.strip() if done.returncode == 1 else "it asks for more memory than it may have"
    except subprocess.TimeoutExpired:
        said, failed = f"it takes longer than {SECONDS} s", True
    if failed:
        raise InvalidInput(
            f"{name} could not be read as Excel: {said[:200]}.",
            field="source",
            expected="a workbook (.xlsx) whose first sheet begins with a header, and has no cells far from the others",
            todo="Save it again, or save the sheet as CSV.",
        )


def main(source: str, target: str) -> int:
    """Do it in this process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    import polars as pl

    try:
        pl.read_excel(source, engine="calamine", infer_schema_length=None).write_parquet(target)
    except Exception as error:  # calamine's errors have no root but this
        print(str(error).splitlines()[0], file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
