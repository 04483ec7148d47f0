"""Links to a result for whoever is told of a job: they need no account, and end after some days."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime, timedelta

from headrace.kernel.errors import NotFound

KEPT = timedelta(days=7)


def link_token(secret: bytes, job: str, now: datetime) -> str:
    """What opens the result of a job until some days from now."""
    until = str(int((now + KEPT).timestamp()))
    return f"{job}.{until}.{_signed(secret, job, until)}"


def job_of(secret: bytes, token: str, now: datetime) -> str:
    """The job whose result a token opens.

    Raises:
        NotFound: it opens none, or no more.
    """
    job, _, rest = token.partition(".")
    until, _, signature = rest.partition(".")
    right = hmac.compare_digest(signature.encode(), _signed(secret, job, until).encode())
    if not right or int(until) < now.timestamp():
        raise NotFound(
            "This link opens nothing, or no more.", todo="Sign in and fetch the result from the page of the job."
        )
    return job


def _signed(secret: bytes, job: str, until: str) -> str:
    found = hmac.new(secret, f"headrace job {job} {until}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(found).decode().rstrip("=")
