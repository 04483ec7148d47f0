"""Who is told: mail addresses and webhooks, as the project file names them."""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from headrace.kernel.errors import InvalidInput

_ADDRESS = re.compile(r"[^@\s<>,;:\"\\()\[\]]+@[^@\s<>,;:\"\\()\[\]]+\Z")


class Receiver(NamedTuple):
    """One mail address, or one URL that is posted to."""

    kind: Literal["mail", "webhook"]
    address: str


def receivers(text: str) -> tuple[Receiver, ...]:
    """Those in a text such as ``Anna <anna@example.org>, https://chat.example.org/hooks/7``; a mere name is none."""
    found = [receiver for part in text.split(",") if (receiver := _one(part.strip())) is not None]
    return tuple(dict.fromkeys(found))


def people_in(text: str) -> str:
    """A text of owners without its URLs, of which some are secrets."""
    return ", ".join(part.strip() for part in text.split(",") if part.strip() and "://" not in part)


def one_receiver(text: str) -> Receiver:
    """The one in a text.

    Raises:
        InvalidInput: there is none, or more than one.
    """
    found = receivers(text)
    if len(found) != 1:
        raise InvalidInput(
            f"{text!r} is not one that can be told.",
            expected="a mail address such as anna@example.org, or a URL such as https://chat.example.org/hooks/7",
            todo="Correct it.",
        )
    return found[0]


def _one(text: str) -> Receiver | None:
    if not text.isprintable() or "=?" in text:  # an encoded word would be decoded into a header
        return None
    if text.startswith(("https://", "http://")):
        try:
            at = urlsplit(text)
            good = bool(at.hostname) and at.port != 0 and at.username is None and " " not in text
        except ValueError:
            good = False
        return Receiver("webhook", text) if good else None
    address = parseaddr(text)[1]
    return Receiver("mail", address) if _ADDRESS.match(address) else None
