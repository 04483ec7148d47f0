"""Attempts to sign in: guessing is slowed down, and cannot use up the machine. Each process counts for itself."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headrace.kernel.errors import KeyNeeded, Overloaded

FREE = 5
"""Wrong attempts before one has to wait."""
LONGEST_WAIT = 900.0
MOST_KNOWN = 10_000
MOST_AT_ONCE = 4
"""Passwords that are held against a hash at the same time: each takes 32 MiB and a tenth of a second of a core."""


class Attempts:
    """The wrong attempts of late, by who was named and where they came from.

    Both together, so that nobody can lock another out from elsewhere. After `FREE` of them each next one has to wait
    twice as long as the one before, from a second to a quarter of an hour.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._at_work = 0

    @contextmanager
    def one(self, name: str, address: str) -> Iterator[None]:
        """One attempt: wrong where the block raises `KeyNeeded`, right where it raises nothing; else it does not count.

        Raises:
            Overloaded: there were too many, or too many are being looked at.
        """
        who = (name, _network(address))
        self._begin(who)
        try:
            yield
        except KeyNeeded:
            self._note(who)
            raise
        else:
            with self._lock:
                self._wrong.pop(who, None)
        finally:
            with self._lock:
                self._at_work -= 1

    def _note(self, who: tuple[str, str]) -> None:
        with self._lock:
            count, _ = self._wrong.pop(who, (0, 0.0))
            self._wrong[who] = (count + 1, self._clock())
            while len(self._wrong) > MOST_KNOWN:
                self._wrong.popitem(last=False)

    def _begin(self, who: tuple[str, str]) -> None:
        with self._lock:
            count, last = self._wrong.get(who, (0, 0.0))
            wait = min(2.0 ** min(count - FREE, 30), LONGEST_WAIT) if count >= FREE else 0.0
            left = last + wait - self._clock()
            if left > 0:
                raise Overloaded(
                    f"{count} attempts to sign in as {who[0]!r} failed.",
                    expected=f"the next one in {left:.0f} s",
                    todo="Wait; or ask an admin for a new code with 'headrace people reset NAME'.",
                )
            if self._at_work >= MOST_AT_ONCE:
                raise Overloaded("Too many sign in at the same time.", todo="Try again in a second.")
            self._at_work += 1


def _network(address: str) -> str:
    """What one caller can hardly change: an IPv4 address, of an IPv6 address its first 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
