"""Opening a bundle: verified first, then the compiled form where there is one, else the Python object."""

from __future__ import annotations

from pathlib import Path

from headrace.kernel.ports import Scorer
from headrace.runtimes.bundle import FILE_LAYOUT, read_schema, verify_bundle
from headrace.runtimes.graph import load_graph
from headrace.runtimes.onnx_file import load_onnx_file
from headrace.runtimes.reference import load_reference


def open_bundle(folder: Path, digest: str, threads: int = 1) -> Scorer:
    """The scorer of the bundle in `folder`; nothing of a compiled version is unpickled.

    Args:
        threads: how many of a compiled version may take blocks of a large batch side by side.

    Raises:
        NotTrusted: the bundle is not the one that was registered.
        MissingExtra: a library that an uncompiled model needs is not installed.
    """
    manifest = verify_bundle(folder, digest)
    if FILE_LAYOUT in manifest.files:
        return load_onnx_file(folder, read_schema(folder), manifest.task, manifest.classes)
    if manifest.runtime == "graph":
        return load_graph(folder, read_schema(folder), manifest.task, manifest.classes, threads)
    return load_reference(folder, digest, manifest)
