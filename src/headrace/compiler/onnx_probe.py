"""Trying an ONNX file in a process of its own, with limits on memory and time, before it is opened here."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from headrace.kernel.errors import InvalidInput, NotTrusted
from headrace.runtimes.graph import session_of
from headrace.runtimes.onnx_file import ELEMENTS

MEMORY_BYTES = 8 << 30
SECONDS = 60


def probe(content: bytes) -> None:
    """Load the file and ask it two rows of zeros, elsewhere.

    Raises:
        NotTrusted: it needs more than `MEMORY_BYTES` or `SECONDS`.
        InvalidInput: onnxruntime cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(content)
        command = [sys.executable, "-m", "headrace.compiler.onnx_probe", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise NotTrusted(
                f"The ONNX file did not answer two rows within {SECONDS} s; it was not opened.",
                expected="a model that answers",
                todo="See what in the model takes so long.",
            ) from error
    if done.returncode == 0:
        return
    said = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
    if done.returncode < 0 or "bad_alloc" in said or "MemoryError" in said or "allocate memory" in said:
        raise NotTrusted(
            f"The ONNX file needs more than {MEMORY_BYTES >> 30} GiB for two rows; it was not opened.",
            expected="a model that fits into memory",
            todo="See what in the model makes such tensors.",
        )
    raise InvalidInput(
        f"onnxruntime cannot run the file: {said}",
        expected=f"operators and types that onnxruntime {onnxruntime.__version__} has",
        todo="Export the model with an older opset, or in float32.",
    )


def _feed(one: Any) -> np.ndarray:
    shape = [size if isinstance(size, int) else 2 if place == 0 else 1 for place, size in enumerate(one.shape)]
    if one.type not in ELEMENTS:
        raise TypeError(f"its input {one.name!r} is a {one.type}")
    return (
        np.full(shape, "", dtype=object) if one.type == "tensor(string)" else np.zeros(shape, dtype=ELEMENTS[one.type])
    )


def _main(path: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    session = session_of(Path(path).read_bytes())
    session.run(None, {one.name: _feed(one) for one in session.get_inputs()})


if __name__ == "__main__":
    try:
        _main(sys.argv[1])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}")
