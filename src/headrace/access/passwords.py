"""Passwords: what is asked of them, and the scrypt hash that is kept in their place.

The costs are those of OWASP's Password Storage Cheat Sheet for 32 MiB (N = 2^15, r = 8, p = 3); they stand beside each
hash, so that they can grow. What is asked follows NIST SP 800-63B: length, no rules of composition.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

from headrace.kernel.errors import InvalidInput

SHORTEST, LONGEST = 12, 256
MOST_MEMORY = 64 << 20
COSTS = (15, 8, 3)


def hashed(password: str) -> str:
    """``scrypt$log2(N)$r$p$salt$hash``, with a salt of its own."""
    salt = secrets.token_bytes(16)
    return "$".join(["scrypt", *map(str, COSTS), _text(salt), _text(_derive(password, salt, COSTS))])


def matches(password: str, stored: str) -> bool:
    """Whether it is the password of which `stored` is the hash."""
    _, n, r, p, salt, kept = stored.split("$")
    found = _derive(password, base64.b64decode(salt), (int(n), int(r), int(p)))
    return hmac.compare_digest(found, base64.b64decode(kept))


def check_password(password: str, name: str) -> None:
    """See that a new password is worth something.

    Raises:
        InvalidInput: it is too short, too long, or easily guessed.
    """
    fault = ""
    if not SHORTEST <= len(password) <= LONGEST:
        fault = f"has {len(password)} characters"
    elif len(set(password)) < 5:
        fault = "repeats a few characters"
    elif password.casefold() in (name.casefold() * LONGEST)[:LONGEST]:
        fault = "is made of your name"
    if fault:
        raise InvalidInput(
            f"The password {fault}.",
            field="password",
            expected=f"{SHORTEST} to {LONGEST} characters that others cannot guess, such as four unrelated words",
            todo="Choose another.",
        )


def _derive(password: str, salt: bytes, costs: tuple[int, int, int]) -> bytes:
    n, r, p = costs
    said = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(said, salt=salt, n=1 << n, r=r, p=p, maxmem=MOST_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
