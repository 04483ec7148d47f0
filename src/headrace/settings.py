"""The table of settings: the only reader of the environment."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import NamedTuple


class Setting(NamedTuple):
    """One variable of the environment, its default and what it is for."""

    variable: str
    default: str
    help: str


WORKSPACE = Setting("HEADRACE_WORKSPACE", ".headrace", "The folder of the workspace.")
WHO = Setting("HEADRACE_WHO", "", "Who makes changes, for the audit log; the login name where empty.")
TURN_SECONDS = Setting("HEADRACE_TURN_SECONDS", "1", "Seconds between two turns of the worker's loop.")
CI = Setting("CI", "", "Set by build servers: the demo ends by itself.")
SETTINGS = (WORKSPACE, WHO, TURN_SECONDS, CI)


def read(setting: Setting) -> str:
    """The value of a setting."""
    return os.environ.get(setting.variable) or setting.default


def who() -> str:
    """Who makes changes."""
    named = read(WHO)
    if named:
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def workspace_folder(url: str | Path | None) -> Path:
    """The folder of a workspace: what was named, else the setting."""
    return Path(url) if url else Path(read(WORKSPACE))


def limit_threads() -> None:
    """One thread for each numeric library, unless the environment says otherwise: more change the last bits."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
