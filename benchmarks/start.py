"""How long `import headrace` and `headrace --help` take, beside a bare Python and beside peers that are installed.

Run: python benchmarks/start.py [--write docs/benchmarks.md]. Medians of 9 runs after one to warm the disk.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 9
LIMITS = {"import headrace": 0.1, "headrace --help": 0.25}


def seconds(command: list[str]) -> float:
    """The median wall time of a command."""
    taken = []
    for _ in range(RUNS + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def rows() -> list[tuple[str, float]]:
    """Name and seconds; an import is counted without Python's own start."""
    bare = seconds([sys.executable, "-c", "pass"])
    found = [("python, nothing imported", bare)]
    for package in ("headrace", "sklearn", "mlflow", "bentoml", "mlserver", "zenml"):
        if importlib.util.find_spec(package):
            found.append((f"import {package}", seconds([sys.executable, "-c", f"import {package}"]) - bare))
    found.append(("headrace --help", seconds([sys.executable, "-m", "headrace", "--help"])))
    return found


def main() -> int:
    """Print the table; exit code 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    found = rows()
    lines = ["| what | seconds |", "|---|---|", *(f"| {name} | {value:.3f} |" for name, value in found)]
    text = "\n".join(lines)
    print(text)
    target = parser.parse_args().write
    if target:
        target.write_text(f"# Benchmarks\n\n## Start\n\n`python benchmarks/start.py`, on 2 shared cores.\n\n{text}\n")
    slow = [name for name, value in found if value > LIMITS.get(name, 1e9)]
    print(f"over the limit: {', '.join(slow)}" if slow else "within the limits")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
