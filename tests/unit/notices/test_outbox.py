"""A notice is written down once, due again later while it does not arrive, and given up after a day."""

import socket
import threading
from datetime import UTC, datetime, timedelta

import pytest

from headrace.kernel.errors import InvalidInput
from headrace.notices.delivering import Postman, deliver
from headrace.notices.mail import MailServer, Undelivered, mail_server
from headrace.notices.outbox import KEPT, MOST_ATTEMPTS, Outbox
from headrace.notices.receivers import Receiver, one_receiver, people_in, receivers
from headrace.notices.webhooks import signed


class Now:
    def __init__(self):
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.at


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def outbox(ws, now):
    return Outbox(ws.database, now)


def tell(outbox, about="a1", owners=("Anna <anna@example.org>",)):
    outbox.tell(about, "late", owners, "late:\n alarm", "It drifts.", {"type": "alarm.drift"})


STRANGE = (
    "a@=?utf-8?q?x.org=0aBcc=3avictim=40example.net?=",
    "=?utf-8?q??=@a",
    "https://chat.example.org:hooks/7",
    "https://user:secret@hooks.example.org/x",
)


def test_who_is_told_is_read_from_a_text():
    text = "Anna Smith <anna@example.org>, https://chat.example.org/hooks/7?x=1,Berta, anna@example.org , ftp://x.org"
    assert receivers(text) == (
        Receiver("mail", "anna@example.org"),
        Receiver("webhook", "https://chat.example.org/hooks/7?x=1"),
    )
    for nobody in (
        "",
        "the team",
        "https://",
        "http:///x",
        "a@b c@d",
        "x@y\nBcc: z@example.org",
        "https://[bad",
        *STRANGE,
    ):
        assert receivers(nobody) == ()
        with pytest.raises(InvalidInput):
            one_receiver(nobody)


def test_what_was_told_is_not_told_again(ws, now, outbox):
    for teller in (outbox, outbox, Outbox(ws.database, now)):
        tell(teller, owners=("anna@example.org", "anna@example.org, https://x.example.org/1"))
    tell(outbox, about="a2")
    assert [(n.about, n.kind) for n in sorted(outbox.list(), key=lambda n: (n.about, n.kind))] == [
        ("a1", "mail"),
        ("a1", "webhook"),
        ("a2", "mail"),
    ]
    assert outbox.list()[0].subject == "late: alarm"
    assert [n.model for n in outbox.list("late")] == ["late"] * 3 and outbox.list("other") == []


def test_what_does_not_arrive_is_due_later_and_later_for_a_day(outbox, now):
    tell(outbox)
    began, waits = now.at, []
    while due := outbox.due():
        outbox.failed(due[0], "no route", final=False)
        (notice,) = outbox.list()
        waits.append((notice.due - now.at) / timedelta(minutes=1))
        now.at = notice.due - timedelta(seconds=1)
        assert outbox.due() == []
        now.at = notice.due
    assert waits[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256] and set(waits[9:]) == {360}
    assert notice.attempts == MOST_ATTEMPTS == len(waits)
    assert notice.given_up is not None and notice.error == "no route"
    assert timedelta(hours=14) < notice.given_up - began < timedelta(hours=24)


def test_what_can_never_arrive_is_given_up_at_once_and_what_arrived_is_over(outbox, now):
    tell(outbox)
    tell(outbox, about="a2")
    first, second = outbox.due()
    outbox.failed(first, "no such person", final=True)
    outbox.delivered(second)
    now.at += timedelta(days=2)
    assert outbox.due() == []
    assert {bool(n.given_up) for n in outbox.list()} == {True, False}
    outbox.sweep()
    assert len(outbox.list()) == 2
    now.at += KEPT
    outbox.sweep()
    assert outbox.list() == []


def test_one_that_does_not_arrive_holds_up_no_other(outbox, now):
    tell(outbox, owners=("anna@example.org", "http://127.0.0.1:1/hook"))

    class Bad(Postman):
        def bring(self, notice):
            if notice.kind == "mail":
                raise Undelivered("it is away")

    assert deliver(outbox, Bad(None, "", now, str.encode)) == 1
    assert {n.kind: (n.delivered is not None, n.error) for n in outbox.list()} == {
        "mail": (False, "it is away"),
        "webhook": (True, ""),
    }


def test_whatever_goes_wrong_counts_and_holds_up_nothing(outbox, now):
    """A server that speaks no HTTP, and a fault of our own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: [_talk(server) for _ in range(2)], daemon=True).start()
        tell(outbox, owners=(f"http://127.0.0.1:{server.getsockname()[1]}/x",))
        assert deliver(outbox, Postman(None, "", now, str.encode)) == 0
    assert (outbox.list()[0].attempts, outbox.list()[0].error) == (1, "no HTTP reply")

    class Broken(Postman):
        def bring(self, notice):
            raise IndexError("secret")

    now.at += timedelta(minutes=1)
    assert deliver(outbox, Broken(None, "", now, str.encode)) == 0
    assert (outbox.list()[0].attempts, outbox.list()[0].error) == (2, "a fault: IndexError")


def _talk(server):
    peer, _ = server.accept()
    with peer:
        peer.recv(65536)
        peer.sendall(b"220 I am a mail server\r\n")


def test_urls_stay_out_of_what_is_shown():
    assert people_in("Anna <a@example.org>, https://hooks.example.org/secret , Berta") == "Anna <a@example.org>, Berta"


def test_without_a_mail_server_the_notice_says_so(outbox, now):
    tell(outbox)
    assert deliver(outbox, Postman(None, "", now, str.encode)) == 0
    assert "HEADRACE_SMTP" in outbox.list()[0].error


def test_a_webhook_is_signed_as_the_standard_has_it():
    """The vector of the reference libraries."""
    when = datetime.fromtimestamp(1614265330, UTC)
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = signed(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", when, b'{"test": 2432232314}')
    assert headers == {
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert "webhook-signature" not in signed("", "m", when, b"")


def test_a_mail_server_is_read_from_its_address():
    assert mail_server("") is None
    found = mail_server("smtp+starttls://an%40na:p%2Fw@mail.example.org?from=Headrace <h@example.org>")
    assert found == MailServer("smtp+starttls", "mail.example.org", 587, "an@na", "p/w", "Headrace <h@example.org>")
    for wrong in ("mail.example.org", "smtp://mail.example.org", "http://x?from=a@b.c", "smtp://x:port?from=a@b.c"):
        with pytest.raises(InvalidInput):
            mail_server(wrong)
