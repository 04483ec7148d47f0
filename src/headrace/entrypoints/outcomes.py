"""One table from the kind of an error to what the outside sees of it."""

from __future__ import annotations

from typing import NamedTuple

from headrace.kernel.errors import HeadraceError


class Outcome(NamedTuple):
    """An HTTP status, an exit code, and whether trying again may help."""

    status: int
    exit_code: int
    retry: bool


OUTCOMES: dict[str, Outcome] = {
    "invalid_input": Outcome(400, 2, False),
    "invalid_name": Outcome(400, 2, False),
    "nothing_there": Outcome(400, 2, False),
    "invalid_project": Outcome(422, 2, False),
    "schema_violation": Outcome(422, 2, False),
    "wrong_method": Outcome(405, 2, False),
    "too_large": Outcome(413, 2, False),
    "unknown_format": Outcome(415, 2, False),
    "not_found": Outcome(404, 3, False),
    "refused": Outcome(403, 4, False),
    "key_needed": Outcome(401, 4, False),
    "conflict": Outcome(409, 4, False),
    "not_trusted": Outcome(409, 4, False),
    "fell_short": Outcome(409, 1, False),
    "gate_failed": Outcome(409, 1, False),
    "certificate_failed": Outcome(409, 1, False),
    "run_failed": Outcome(409, 1, False),
    "deployment_failed": Outcome(409, 1, False),
    "unavailable": Outcome(503, 5, True),
    "missing_extra": Outcome(503, 5, False),
    "port_taken": Outcome(503, 5, False),
    "storage_unavailable": Outcome(503, 5, True),
    "workspace_too_new": Outcome(503, 5, False),
    "deadline_passed": Outcome(408, 5, True),
    "overloaded": Outcome(429, 5, True),
    "fault": Outcome(500, 70, False),
}


def status_of(error: HeadraceError) -> int:
    """The HTTP status of an error."""
    return OUTCOMES[error.kind].status
