"""Who is calling: keys, scopes and quotas, from the route document alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Callable
from typing import Literal

from headrace.kernel.errors import KeyNeeded, Overloaded, Refused
from headrace.kernel.routes import Key, Scope, allows
from headrace.serving.bodies import Headers

Asked = Scope | Literal["any"] | None
"""The scope that a path asks for: `any` is a key of any scope, None is open to everybody."""
MOST_ADMITTED = 4096
_TODO = "Send 'Authorization: Bearer KEY'; an operator makes one with 'headrace keys create --consumer NAME'."


class Guard:
    """Admits callers by their keys.

    Args:
        required: whether a caller must show a key. Where it need not, one that it shows is still looked at, as far as
            any key exists.
    """

    def __init__(self, required: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self.required = required
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._keys: dict[str, Key] = {}
        self._admitted: dict[bytes, Key] = {}
        """By what the header said."""

    def admit(self, keys: dict[str, Key], headers: Headers, scope: Asked) -> Key | None:
        """The caller's key, or None where it showed none and need not.

        Raises:
            KeyNeeded: there is no key, or nobody knows it.
            Refused: the key is not for this.
        """
        if scope is None or not (keys or self.required):
            return None
        said = headers.get(b"authorization", headers.get(b"x-api-key"))
        if said is None:
            if self.required:
                raise KeyNeeded("This needs a key.", todo=_TODO)
            return None
        if keys is not self._keys or len(self._admitted) > MOST_ADMITTED:
            self._keys, self._admitted = keys, {}
        key = self._admitted.get(said)
        if key is None:
            key = keys.get(hashlib.sha256(shown_key(headers) or b"").hexdigest())
            if key is None:
                raise KeyNeeded("The key is not known; it may have been revoked.", todo=_TODO)
            self._admitted[said] = key
        if not allows(key.scopes, scope):
            raise Refused(
                f"The key of {key.consumer!r} is for {', '.join(key.scopes)}.",
                expected=f"a key with the scope {scope}",
                todo="Ask the operator for one.",
            )
        return key

    def spend(self, key: Key) -> None:
        """Count one request against the quota of a key, which is kept by each process for itself.

        Raises:
            Overloaded: the quota is used up for now.
        """
        if key.quota is None:
            return
        now = self._clock()
        most = max(key.quota, 1.0)
        left, at = self._buckets.get(key.id, (most, now))
        left = min(most, left + (now - at) * key.quota)
        self._buckets[key.id] = (max(left - 1.0, 0.0) if left >= 1.0 else left, now)
        if left < 1.0:
            raise Overloaded(
                f"{key.consumer!r} has used its quota of {key.quota:g} requests a second.",
                todo="Try again in a second, or ask the operator for more.",
            )

    def give_back(self, key: Key) -> None:
        """Take back one request that was counted."""
        if key.quota is not None:
            left, at = self._buckets[key.id]
            self._buckets[key.id] = (left + 1.0, at)


def shown_key(headers: Headers) -> bytes | None:
    """The key in a request's headers: ``Authorization: Bearer``, Basic with the key as password, or ``X-API-Key``."""
    said = headers.get(b"authorization")
    if said is None:
        return headers.get(b"x-api-key")
    how, _, what = said.partition(b" ")
    if how.lower() == b"bearer":
        return what.strip()
    if how.lower() == b"basic":
        try:
            return base64.b64decode(what.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""
