"""Notices by mail (RFC 5321 and 5322), through the server of ``HEADRACE_SMTP``."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import format_datetime
from mimetypes import guess_type
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from headrace.kernel.callers import Notice
from headrace.kernel.errors import InvalidInput
from headrace.notices.receivers import receivers
from headrace.notices.templates import Words

SECONDS = 20.0
PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}


class Undelivered(Exception):
    """A notice did not arrive; `final` where trying again is of no use."""

    def __init__(self, text: str, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class MailServer(NamedTuple):
    """A server, how it is spoken to, and whom mails are from."""

    scheme: str
    host: str
    port: int
    user: str
    password: str
    sender: str


def mail_server(url: str) -> MailServer | None:
    """``smtp+starttls://USER:PASSWORD@HOST:PORT?from=ADDRESS`` as a server; None of the empty text.

    Raises:
        InvalidInput: it is none.
    """
    if not url:
        return None
    expected = "smtp://, smtp+starttls:// or smtps://, then USER:PASSWORD@HOST:PORT?from=ADDRESS"
    try:
        at = urlsplit(url)
        host, port = at.hostname, at.port or PORTS.get(at.scheme)
    except ValueError:
        host = port = None
    sender = dict(parse_qsl(at.query)).get("from", "") if host else ""
    if not host or not port or [one.kind for one in receivers(sender)] != ["mail"]:
        raise InvalidInput("HEADRACE_SMTP is no mail server with a sender.", expected=expected, todo="Correct it.")
    return MailServer(at.scheme, host, port, unquote(at.username or ""), unquote(at.password or ""), sender)


def send_mail(server: MailServer, notice: Notice, words: Words, files: Iterable[tuple[str, bytes]] = ()) -> None:
    """Hand a notice to the server, in words, with files (their names and contents). Sent twice, it has the same
    Message-ID.

    Raises:
        Undelivered: the server did not take it.
    """
    try:
        connection = _connected(server)
        try:
            connection.send_message(_message(server, notice, words, files))
        finally:
            _leave(connection)
    except smtplib.SMTPRecipientsRefused as error:
        code, said = next(iter(error.recipients.values()))
        raise Undelivered(f"{server.host} refused {notice.receiver}: {code} {_plain(said)}", code >= 550) from error
    except smtplib.SMTPResponseException as error:
        raise Undelivered(f"{server.host} said {error.smtp_code} {_plain(error.smtp_error)}") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise Undelivered(f"{server.host}:{server.port}: {error}") from error


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=SECONDS, context=ssl.create_default_context()
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=SECONDS)
    try:
        if server.scheme == "smtp+starttls":
            connection.starttls(context=ssl.create_default_context())
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _leave(connection: smtplib.SMTP) -> None:
    """Say goodbye; what the server says to that changes nothing."""
    try:
        connection.quit()
    except (smtplib.SMTPException, OSError):
        connection.close()


def _message(server: MailServer, notice: Notice, words: Words, files: Iterable[tuple[str, bytes]]) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = words.subject
    message["From"] = server.sender
    message["To"] = notice.receiver
    message["Date"] = format_datetime(notice.created)
    message["Message-ID"] = f"<{notice.id}@headrace>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(words.text)
    if words.html:
        message.add_alternative(words.html, subtype="html")
    for name, content in files:
        kind, _, subkind = (guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(content, maintype=kind, subtype=subkind, filename=PurePosixPath(name).name)
    return message


def _plain(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said
