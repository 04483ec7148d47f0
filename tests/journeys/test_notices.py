"""Owners are told: by a worker, through a real mail server and to a real receiver of webhooks, which may be away."""

import base64
import contextlib
import datetime
import email
import email.policy
import hashlib
import hmac
import http.server
import json
import shutil
import ssl
import threading

import polars as pl
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.conftest import EXAMPLES, eventually, headrace_command
from tests.servers import free_port

from headrace.kernel.errors import InvalidInput, NotFound, Unavailable

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Mailbox:
    """What an SMTP server took."""

    def __init__(self):
        self.mails = []
        self.refuse = ""

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@contextlib.contextmanager
def mail_server(mailbox, port=None):
    port = port or free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


class Hook:
    """A receiver of webhooks."""

    def __init__(self):
        self.replies, self.taken = [], []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.taken.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = outer.replies.pop(0) if outer.replies else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    found = Hook()
    yield found
    found.close()


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """A context of a server whose certificate is trusted here."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, private)
    return context


def verified(headers, body):
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    mac = hmac.digest(base64.b64decode(SECRET.removeprefix("whsec_")), said, hashlib.sha256)
    return headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"


def test_a_retraining_that_fails_is_told_by_mail_and_webhook(ws, tmp_path, hook, monkeypatch):
    project = tmp_path / "p"
    shutil.copytree(EXAMPLES / "starter", project)
    rows = pl.DataFrame({"x": [float(i) for i in range(200)], "y": [i % 2 == 0 for i in range(200)]})
    rows.write_csv(project / "rows.csv")
    (project / "fit.py").write_text(
        "class Half:\n    classes_ = (False, True)\n    def predict_proba(self, frame):\n"
        "        return [[0.5, 0.5]] * frame.height\n    def predict(self, frame):\n"
        "        return [False] * frame.height\n\n"
        "def train(frame, **params):\n    if frame.height > 200:\n        raise ValueError('too many rows')\n    return Half()\n"
    )
    owners = f'{{ accuracy = "Anna <anna@example.org>, {hook.url}" }}'
    (project / "headrace.toml").write_text(
        '[project]\nname = "p"\n\n[dataset.d]\nsource = "rows.csv"\n\n[model.m]\ndataset = "d"\ntarget = "y"\n'
        f'train = "fit:train"\nowners = {owners}\n\n[model.m.retrain]\non = ["data"]\nevery = "1s"\n'
    )
    ws.run(project=project)
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        monkeypatch.setenv("HEADRACE_TURN_SECONDS", "0.1")
        monkeypatch.setenv("HEADRACE_SMTP", f"smtp://127.0.0.1:{port}?from=Headrace <headrace@example.org>")
        monkeypatch.setenv("HEADRACE_WEBHOOK_SECRET", SECRET)
        worker = ws._start_worker()
        try:
            pl.concat([rows, rows]).write_csv(project / "rows.csv")
            eventually(lambda: mailbox.mails and hook.taken, 60)
        finally:
            worker.terminate()
            worker.wait()
    mail = mailbox.mails[0]
    assert (mail["To"], mail["Subject"]) == ("anna@example.org", "[headrace] m: a retraining failed")
    assert "It failed: invalid_project" in mail.get_content() and mail["Auto-Submitted"] == "auto-generated"
    headers, body = hook.taken[0]
    said = json.loads(body)
    assert verified(headers, body) and (said["type"], said["data"]["model"]) == ("run.failed", "m")
    done = headrace_command("--workspace", ws.places.url, "notices", "m", "--json")
    assert {n["kind"]: bool(n["delivered"]) for n in json.loads(done.stdout)[-2:]} == {"mail": True, "webhook": True}


def smtp(port, scheme="smtp", host="127.0.0.1", who=""):
    return f"{scheme}://{who}{host}:{port}?from=headrace@example.org"


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
def test_a_mail_server_may_ask_for_tls_and_a_password(ws, scheme, certificate, monkeypatch):
    seen = []

    def authenticate(server, session, envelope, mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"p/w", handled=False)

    class Strict(Controller):
        def factory(self):
            tls = {"tls_context": certificate, "require_starttls": True} if scheme == "smtp+starttls" else {}
            options = {"authenticator": authenticate, "auth_required": scheme == "smtp+starttls", **tls}
            return SMTP(self.handler, auth_require_tls=scheme == "smtp+starttls", **options)

    mailbox = Mailbox()
    ssl_context = certificate if scheme == "smtps" else None
    port = free_port()
    controller = Strict(mailbox, hostname="localhost", port=port, ssl_context=ssl_context)
    controller.start()
    try:
        monkeypatch.setenv("HEADRACE_SMTP", smtp(port, scheme, "localhost", "" if scheme == "smtp" else "anna:p%2Fw@"))
        assert ws.test_notice("berta@example.org").delivered
        if scheme != "smtp":
            assert seen == [(b"anna", b"p/w")]
            monkeypatch.setenv("HEADRACE_SMTP", smtp(port, scheme, "localhost", "anna:wrong@"))
            with pytest.raises(Unavailable, match="said 535"):
                ws.test_notice("berta@example.org")
            monkeypatch.delenv("SSL_CERT_FILE")
            with pytest.raises(Unavailable, match="certificate"):
                ws.test_notice("berta@example.org")
    finally:
        controller.stop()
    assert len(mailbox.mails) == 1


def test_what_is_tried_says_what_came_of_it(ws, hook, monkeypatch):
    root = ws.places.url
    with pytest.raises(Unavailable, match="HEADRACE_SMTP"):
        ws.test_notice("anna@example.org")
    with pytest.raises(InvalidInput):
        ws.test_notice("anna")
    assert "took it" in headrace_command("--workspace", root, "notices", "--test", hook.url).stdout
    for status, says in ((500, "replied 500"), (302, "replied 302"), (410, "replied 410")):
        hook.replies.append(status)
        with pytest.raises(Unavailable, match=says):
            ws.test_notice(hook.url)
    assert len(hook.taken) == 4
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        monkeypatch.setenv("HEADRACE_SMTP", smtp(port))
        assert ws.test_notice("Anna <anna@example.org>").receiver == "anna@example.org"
        mailbox.refuse = "550 no such user"
        with pytest.raises(Unavailable, match="550 no such user"):
            ws.test_notice("nobody@example.org")
    with pytest.raises(Unavailable, match=str(port)):
        ws.test_notice("anna@example.org")
    monkeypatch.setenv("HEADRACE_SMTP", "mail.example.org")
    done = headrace_command("--workspace", root, "worker")
    assert done.returncode == 2 and "HEADRACE_SMTP is no mail server" in done.stderr


def test_a_mail_server_that_was_away_gets_it_later_and_status_tells_meanwhile(registered, monkeypatch):
    ws = registered
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        pass
    ws.outbox.tell("a1", "late", ["anna@example.org"], "late: alarm", "It drifts.", {"type": "alarm.drift"})
    monkeypatch.setenv("HEADRACE_SMTP", smtp(port))
    worker = ws._start_worker()
    try:
        eventually(lambda: ws.notices()[0].error)
        done = headrace_command("--workspace", ws.places.url, "status", "late")
        assert "mail 'late: alarm' did not arrive yet" in done.stdout
        with mail_server(mailbox, port):
            later = ws.clock() - datetime.timedelta(seconds=1)
            with ws.database.write() as connection:
                from headrace.kernel import tables
                from headrace.kernel.clock import to_text

                connection.execute(tables.notices.update().values(due=to_text(later)))
            eventually(lambda: mailbox.mails)
            eventually(lambda: ws.notices()[0].delivered)
    finally:
        worker.terminate()
        worker.wait()
    assert [mail["Subject"] for mail in mailbox.mails] == ["late: alarm"]
    assert mailbox.mails[0]["Message-ID"] == f"<{ws.notices()[0].id}@headrace>"


def test_notices_are_told_in_the_words_of_templates(registered, tmp_path, hook, monkeypatch):
    ws, mailbox = registered, Mailbox()
    folder = tmp_path / "templates"
    monkeypatch.setenv("HEADRACE_TEMPLATES", str(folder))
    with pytest.raises(InvalidInput, match="no folder"):
        ws.test_notice(hook.url)
    folder.mkdir()
    (folder / "job.done.txt").write_text("Subject: {{ data.scored }}\nflights are scored\n\nHello,\n{{ text }}\n")
    (folder / "job.done.html").write_text("<p>{{ data.name }} of {{ model }}</p>")
    (folder / "notice.json").write_text('{"blocks": [{"text": {{ subject | tojson }}}]}')
    document = {"type": "job.done", "scored": 7, "name": "<b>x</b>"}
    ws.outbox.tell("j1", "late", ["nobody"], "late: done", "Seven.", document)
    with pytest.raises(NotFound, match="of type"):
        ws.test_notice(hook.url, "job.done")
    ws.outbox.tell("j2", "late", [hook.url], "late: done", "Seven.", document)
    with mail_server(mailbox) as port:
        monkeypatch.setenv("HEADRACE_SMTP", smtp(port))
        words = ("--workspace", ws.places.url, "notices", "--test", "anna@example.org", "--like", "job.done")
        assert "took it" in headrace_command(*words).stdout
        (folder / "job.done.txt").write_text("{{ data.nothing.more }}")
        ws.test_notice("anna@example.org", "job.done")
    first, second = mailbox.mails
    assert first["Subject"] == "7"
    assert first.get_body(("plain",)).get_content().splitlines() == ["flights are scored", "", "Hello,", "Seven."]
    assert first.get_body(("html",)).get_content().strip() == "<p>&lt;b&gt;x&lt;/b&gt; of late</p>"
    assert second["Subject"] == "late: done"
    assert "(The template for job.done could not be used: UndefinedError" in second.get_body(("plain",)).get_content()
    monkeypatch.setenv("HEADRACE_WEBHOOK_SECRET", SECRET)
    ws.test_notice(hook.url)
    (folder / "notice.json").write_text("{{ subject }}")
    ws.test_notice(hook.url, "job.done")
    assert all(verified(*taken) for taken in hook.taken)
    bodies = [json.loads(body) for _, body in hook.taken]
    assert bodies[0] == {"blocks": [{"text": "[headrace] a test"}]}
    assert (bodies[1]["type"], bodies[1]["data"]) == ("job.done", document)
    assert "DecodeError" in bodies[1]["text"]
