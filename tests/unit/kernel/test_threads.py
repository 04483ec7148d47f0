"""Threads that meet a record for the first time at once do not crash the process."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from headrace.kernel.threads import build_records
from headrace.training.runs import Asked

build_records()
together = threading.Barrier(8)

def decode():
    together.wait()
    try:
        msgspec.json.decode(b'{"policy": {"model": "m"}}', type=Asked)
    except msgspec.ValidationError:
        pass

threads = [threading.Thread(target=decode) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_records_are_built_before_threads_meet_them() -> None:
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
