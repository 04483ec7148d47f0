"""Delivering what is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from headrace.kernel.callers import Notice
from headrace.kernel.clock import Clock
from headrace.notices.mail import MailServer, Undelivered, send_mail
from headrace.notices.outbox import Outbox
from headrace.notices.templates import Templates
from headrace.notices.webhooks import post


class Postman(NamedTuple):
    """What brings notices: a mail server, if there is one, and the secret that signs webhooks.

    `content` reads those files of the workspace that mails bring along; `templates` say it in the project's own words.
    """

    mail: MailServer | None
    secret: str
    clock: Clock
    content: Callable[[str], bytes]
    templates: Templates = Templates(None)

    def bring(self, notice: Notice) -> None:
        """Deliver one notice.

        Raises:
            Undelivered: it did not arrive.
        """
        if notice.kind == "webhook":
            post(self.secret, notice, self.templates.body(notice), self.clock())
        elif self.mail is None:
            raise Undelivered("no mail server is set: HEADRACE_SMTP")
        else:
            files = [(name, self.content(name)) for name in notice.document.get("files", ())]
            send_mail(self.mail, notice, self.templates.mail(notice), files)


def deliver(outbox: Outbox, postman: Postman) -> int:
    """Deliver what is due; one that does not arrive holds up no other. Gives how many arrived."""
    arrived = 0
    for notice in outbox.due():
        try:
            postman.bring(notice)
        except Undelivered as error:
            outbox.failed(notice, str(error), error.final)
        except Exception as error:  # whatever a strange reply leads to; what it says may hold an address's secrets
            outbox.failed(notice, f"a fault: {type(error).__name__}", False)
        else:
            outbox.delivered(notice)
            arrived += 1
    return arrived
