"""Headrace takes a trained model into production and keeps it healthy there.

``headrace.open(url=None)`` opens a workspace; everything else hangs off it.
Importing this package loads nothing heavy: what a name needs is loaded when it is first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from headrace.kernel.release import VERSION

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime would tell its maker which models are opened

if TYPE_CHECKING:
    from headrace.kernel.errors import HeadraceError
    from headrace.kernel.records import Certificate, Version
    from headrace.workspace import Workspace, open  # noqa: A004


__version__ = VERSION

__all__ = ["Certificate", "HeadraceError", "Version", "Workspace", "__version__", "open"]

_HOMES = {
    "open": "headrace.workspace",
    "Workspace": "headrace.workspace",
    "Version": "headrace.kernel.records",
    "Certificate": "headrace.kernel.records",
    "HeadraceError": "headrace.kernel.errors",
}


_OPTIONAL = ("ray", "spark")
"""Modules for people who live in one of these."""


def __getattr__(name: str) -> Any:
    if name in _OPTIONAL:
        return importlib.import_module(f"headrace.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'headrace' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
