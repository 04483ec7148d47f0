"""People sign in at an OpenID provider, which is a real one in a process of its own."""

import base64
import contextlib
import hashlib
import hmac
import http.cookiejar
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from tests.conftest import eventually
from tests.servers import free_port

PEOPLE = [
    {"sub": "1", "email": "anna@example.org", "email_verified": True, "groups": ["ml", "ml-admins"]},
    {"sub": "2", "email": "berta@example.org", "email_verified": True, "groups": ["ml"]},
    {"sub": "3", "email": "anna@example.org", "email_verified": False, "groups": ["ml-admins"]},
    {"sub": "4", "email": "dora@example.org", "email_verified": True},
]
ROLES = "groups:ml-admins=admin,ml=scientist"


def answers(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as response:
        return response.status == 200
    return False


@contextlib.contextmanager
def provider_at(port):
    words = [word for one in PEOPLE for word in ("--user-claims", json.dumps(one))]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: answers(f"http://127.0.0.1:{port}/.well-known/openid-configuration"))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def provider():
    with provider_at(free_port()) as url:
        yield url


@pytest.fixture
def console(registered, provider, start_headrace):
    def start(**env):
        asked = {"HEADRACE_OIDC": provider, "HEADRACE_OIDC_CLIENT": "headrace", "HEADRACE_OIDC_SECRET": "s", **env}
        return start_headrace("--workspace", registered.places.url, "console", "--port", "0", env=asked)["url"]

    return start


class Browser:
    """Follows redirects and keeps cookies, as browsers do."""

    def __init__(self):
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.opener.addheaders = [("accept", "text/html")]

    def ask(self, url, form=None):
        body = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            with self.opener.open(url, body, timeout=30) as response:
                return response.status, response.read().decode(), response.url
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), error.url

    def sign_in(self, console, subject, then="/models/late"):
        """Through the provider's own form."""
        _, _, there = self.ask(f"{console}/sign-in/there?then={then}")
        return self.ask(there, {"sub": subject})


def test_an_admin_adds_them_and_they_sign_in_there(console, registered, provider, monkeypatch):
    url = console()
    browser = Browser()
    status, page, at = browser.ask(f"{url}/models/late")
    assert status == 200 and at.startswith(f"{url}/sign-in?then=") and "sign in at 127.0.0.1" in page
    status, page, _ = browser.sign_in(url, "1")
    assert status == 403 and "nobody added them here" in page and "headrace people add" in page
    monkeypatch.setenv("HEADRACE_OIDC", provider)
    registered.add_person("anna@example.org", "operator", elsewhere=True)
    status, page, at = browser.sign_in(url, "1")
    assert (status, at) == (200, f"{url}/models/late") and "anna@example.org, operator" in page
    status, page, _ = Browser().sign_in(url, "3")
    assert status == 403 and "gives no verified email" in page
    (person,) = registered.people()
    assert (person.issuer, person.subject) == (provider, "1")
    assert [e.action for e in registered.audit(3)] == ["sign in", "tie person", "add person"]


def test_groups_give_roles(console, registered):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    assert "anna@example.org, admin" in Browser().sign_in(url, "1", "/people")[1]
    assert "berta@example.org, scientist" in Browser().sign_in(url, "2")[1]
    status, page, _ = Browser().sign_in(url, "4")
    assert status == 403 and "no groups at" in page
    registered.change_role("berta@example.org", "viewer")
    assert "berta@example.org, scientist" in Browser().sign_in(url, "2")[1]


def test_a_browser_that_was_not_sent_there_is_not_let_in(console):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    victim, thief = Browser(), Browser()
    assert victim.ask(f"{url}/sign-in/back?code=x&state=y")[0] == 401
    _, _, there = thief.ask(f"{url}/sign-in/there")
    request = urllib.request.Request(there, urllib.parse.urlencode({"sub": "1"}).encode())
    back = stopped_at(request)
    assert victim.ask(back)[0] == 401
    assert victim.ask(url)[2].startswith(f"{url}/sign-in")
    assert thief.ask(back)[0] == 200
    assert thief.ask(back)[0] == 401


def stopped_at(request):
    """Where a redirect leads, which is not followed."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        urllib.request.build_opener(Stay).open(request, timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            return error.headers["location"]
    raise AssertionError("it did not redirect")


def test_refused_at_the_provider_is_refused_here(console):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    browser = Browser()
    _, _, there = browser.ask(f"{url}/sign-in/there")
    status, page, _ = browser.ask(there, {"action": "deny"})
    assert status == 401 and "did not sign you in" in page


def token_of(provider, subject, client="headrace"):
    """An ID token, as a program gets it: the code flow without a browser."""
    back = "http://127.0.0.1:1/back"
    asked = {"client_id": client, "redirect_uri": back, "response_type": "code", "scope": "openid email profile"}
    url = f"{provider}/oauth2/authorize?{urllib.parse.urlencode({**asked, 'state': 's', 'nonce': 'n'})}"
    code = re.search("code=([^&]+)", stopped_at(urllib.request.Request(url, f"sub={subject}".encode())))[1]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
    basic = base64.b64encode(f"{client}:s".encode()).decode()
    request = urllib.request.Request(
        f"{provider}/oauth2/token", urllib.parse.urlencode(form).encode(), {"authorization": f"Basic {basic}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())["id_token"]


def me(url, token):
    request = urllib.request.Request(f"{url}/api/me", headers={"authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def test_programs_send_a_signed_token(console, provider, registered):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    token = token_of(provider, "2")
    status, said = me(url, token)
    assert status == 200 and (said["name"], said["role"]) == ("berta@example.org", "scientist")
    registered.end_person("berta@example.org")
    assert me(url, token)[0] == 403


def test_forged_tokens_are_refused(console, provider):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    good = token_of(provider, "1")
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    with urllib.request.urlopen(f"{provider}/jwks", timeout=10) as response:
        public = response.read()
    forged = {
        "another client": token_of(provider, "1", client="another"),
        "no signature": f"{part({**header, 'alg': 'none'})}.{body}.",
        "changed": f"{head}.{part({**claims, 'sub': '2', 'email': 'root@example.org'})}.{signature}",
        "later": f"{head}.{part({**claims, 'exp': int(time.time()) + 10**6})}.{signature}",
        "garbage": "a.b.c",
        "empty": "..",
        "not text": f"{head}.{body}.\u00ff",
    }
    for secret in (public, json.dumps(json.loads(public)["keys"][0]).encode(), b"", b"s"):
        start = f"{part({**header, 'alg': 'HS256'})}.{body}"
        mac = base64.urlsafe_b64encode(hmac.digest(secret, start.encode(), hashlib.sha256)).rstrip(b"=").decode()
        forged[f"shared secret {len(secret)}"] = f"{start}.{mac}"
    assert me(url, good)[0] == 200
    for name, token in forged.items():
        assert me(url, token)[0] == 401, name


def test_a_token_that_names_an_unknown_key_makes_the_console_look_once(console, provider):
    """Garbage of strangers is not passed on to the provider."""
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    head, body, signature = token_of(provider, "1").split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "=="))
    for kid in ("a", "b"):
        assert me(url, f"{part({**header, 'kid': kid})}.{body}.{signature}")[0] == 401
    for odd in ({"crit": 5}, {"crit": [{}]}, {"kid": 7}, {"alg": 7}):
        assert me(url, f"{part({**header, **odd})}.{body}.{signature}")[0] == 401, odd


def test_an_issuer_may_be_written_with_a_slash(console, registered, provider, monkeypatch):
    monkeypatch.setenv("HEADRACE_OIDC", f"{provider}/")
    registered.add_person("anna@example.org", "operator", elsewhere=True)
    url = console(HEADRACE_OIDC=f"{provider}/")
    assert "anna@example.org, operator" in Browser().sign_in(url, "1")[1]


def test_nobodys_words_are_repeated(console):
    url = console(HEADRACE_OIDC_ROLES=ROLES)
    page = Browser().ask(f"{url}/sign-in/back?error=oops&error_description=Call+0800+now")[1]
    assert "Call 0800" not in page and "oops" not in page and "did not sign you in" in page


def test_a_token_ends(registered, start_headrace):
    port = free_port()
    words = ["--user-claims", json.dumps(PEOPLE[0]), "--token-max-age", "-300"]
    command = [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port), *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        provider = f"http://127.0.0.1:{port}"
        eventually(lambda: answers(f"{provider}/.well-known/openid-configuration"))
        env = {"HEADRACE_OIDC": provider, "HEADRACE_OIDC_ROLES": ROLES}
        url = start_headrace("--workspace", registered.places.url, "console", "--port", "0", env=env)["url"]
        status, said = me(url, token_of(provider, "1"))
        assert status == 401 and "expired" in said["error"]
        process.terminate()


def test_while_the_provider_is_away_accounts_of_the_workspace_go_on(registered, start_headrace):
    registered.add_person("root", "admin", password="four unrelated words")
    env = {"HEADRACE_OIDC": f"http://127.0.0.1:{free_port()}"}
    url = start_headrace("--workspace", registered.places.url, "console", "--port", "0", env=env)["url"]
    browser = Browser()
    status, page, _ = browser.ask(f"{url}/sign-in/there")
    assert status == 503 and "does not answer as one" in page
    said = {"name": "root", "password": "four unrelated words", "then": "/people"}
    assert browser.ask(f"{url}/sign-in", said)[0] == 200
    assert me(url, "a.b.c")[0] == 503


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"HEADRACE_OIDC": "http://id.example.org"}, "https://"),
        ({"HEADRACE_OIDC": "https://id.example.org", "HEADRACE_OIDC_ROLES": "admin"}, "CLAIM:VALUE=ROLE"),
        ({"HEADRACE_OIDC": "https://id.example.org", "HEADRACE_OIDC_ROLES": "groups:a=king"}, "scientist"),
    ],
)
def test_settings_that_cannot_be_are_refused(ws, start_headrace, env, says):
    refused = start_headrace("--workspace", ws.places.url, "console", "--port", "0", env=env)
    assert refused["kind"] == "invalid_input" and says in refused["expected"], refused
