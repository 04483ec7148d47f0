"""Why a step stays in Python."""

from __future__ import annotations


class NotCompiled(Exception):
    """What stands in the way of compiling: the innermost step that is not covered, and why."""

    def __init__(self, reason: str, step: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.step = step

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}" if self.step else self.reason
