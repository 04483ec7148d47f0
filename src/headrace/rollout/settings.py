"""The policy of a rollout, as the project file gives it."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, frozen=True):
    """Steps in percent of traffic, the least windows of evidence, and the guards with harm's margin."""

    steps: tuple[float, ...]
    windows: int
    errors: bool
    slow: bool
    margin: float
