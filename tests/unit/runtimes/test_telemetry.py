"""onnxruntime keeps nothing about this machine, and so has nothing to tell its maker."""

import os
import subprocess
import sys

import pytest

LOAD = "import onnxruntime; onnxruntime.SessionOptions()"


@pytest.mark.parametrize("load", [f"import headrace; {LOAD}", "import headrace.runtimes.graph"])
def test_no_device_is_named(tmp_path, load):
    around = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY") and "XDG" not in k}
    subprocess.run([sys.executable, "-c", load], env={**around, "HOME": str(tmp_path)}, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]
