"""Notices by webhook, signed as Standard Webhooks (standardwebhooks.com) has it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from headrace.kernel.callers import Notice
from headrace.kernel.release import VERSION
from headrace.notices.mail import Undelivered

SECONDS = 15.0
GONE = 410


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a notice goes where the project says, and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


def post(secret: str, notice: Notice, body: bytes, now: datetime) -> None:
    """Post a notice; a reply of 2xx is its arrival.

    Args:
        body: JSON.
        secret: ``whsec_`` and base64, or any text; empty leaves the signature out.

    Raises:
        Undelivered: there was another reply, or none.
    """
    headers = {"content-type": "application/json", "user-agent": f"headrace/{VERSION}", "webhook-id": notice.id}
    headers |= signed(secret, notice.id, now, body)
    request = urllib.request.Request(notice.receiver, body, headers, method="POST")  # noqa: S310
    try:
        with _OPENER.open(request, timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        with error:
            raise Undelivered(f"it replied {error.code}", error.code == GONE) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Undelivered(
            f"{type(error).__name__}: {error}" if isinstance(error, OSError) else "no HTTP reply"
        ) from error


def signed(secret: str, identity: str, now: datetime, body: bytes) -> dict[str, str]:
    """The headers of time and signature: HMAC-SHA256 over ``id.timestamp.body``."""
    stamp = str(int(now.timestamp()))
    if not secret:
        return {"webhook-timestamp": stamp}
    mac = hmac.digest(_key(secret), f"{identity}.{stamp}.".encode() + body, hashlib.sha256)
    return {"webhook-timestamp": stamp, "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}


def _key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
