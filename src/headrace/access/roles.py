"""The roles of people, as the scopes that routes ask for. Everybody who is known may look."""

from __future__ import annotations

from typing import Literal, get_args

from headrace.kernel.errors import InvalidInput
from headrace.kernel.routes import Scope

Role = Literal["viewer", "scientist", "operator", "approver", "admin"]
ROLES: dict[str, tuple[Scope, ...]] = {
    "viewer": (),
    "scientist": ("predict", "train"),
    "operator": ("predict", "deploy"),
    "approver": ("predict", "approve"),
    "admin": ("admin",),
}
"""Later scopes may hold earlier ones: see `headrace.kernel.routes.GRANTS`."""


def check_role(role: str) -> str:
    """`role` itself.

    Raises:
        InvalidInput: there is no such role.
    """
    if role not in ROLES:
        raise InvalidInput(
            f"There is no role {role!r}.", field="role", expected=", ".join(get_args(Role)), todo="Name one of them."
        )
    return role
