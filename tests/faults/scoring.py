"""A program that scores a file as a job, with small blocks so that a small file has many; it is killed by its tests."""

import sys

import headrace
from headrace.batch import planning, running, writing


def small_blocks() -> None:
    """Blocks of a few hundred rows."""
    planning.BLOCK, planning.TABLE_BLOCK, writing.ROW_GROUP, running.TOLD_SECONDS = 8 << 10, 300, 2000, 0.01


def main(workspace: str, source: str, destination: str) -> int:
    """Score it; the exit code says whether that went well."""
    small_blocks()
    job = headrace.open(workspace).score("late", source, destination, keep="flight", chunk=1, threads=2)
    print(job.status, job.error)
    return 0 if job.status == "done" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
