"""People sign in, each may do what their role allows, and every change names who made it."""

import http.client
import json
import re
from urllib.parse import urlencode

import pytest
from tests.conftest import EXAMPLES, eventually, headrace_command

from headrace.access.roles import ROLES
from headrace.entrypoints.http.api import VERBS
from headrace.entrypoints.http.jobs import PATHS
from headrace.kernel.routes import allows

WORDS = "four unrelated words"
ROW = {"minutes": 12.0, "carrier": "UA"}
OPEN = {"/api/sessions"}


class Browser:
    """Requests with a cookie jar of one cookie, that are not followed."""

    def __init__(self, port):
        self.port, self.cookie, self.headers = port, "", {}

    def ask(self, method, path, form=None, document=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = urlencode(form) if form is not None else json.dumps(document) if document is not None else None
        kind = "application/x-www-form-urlencoded" if form is not None else "application/json"
        sent = {"content-type": kind, "accept": "text/html", **headers}
        if self.cookie:
            sent["cookie"] = self.cookie
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in sent.items()})
        response = connection.getresponse()
        text = response.read().decode()
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        if "set-cookie" in self.headers:
            self.cookie = self.headers["set-cookie"].partition(";")[0]
        connection.close()
        return response.status, text

    def sign_in(self, name, password=WORDS, then="/"):
        return self.ask("POST", "/sign-in", {"name": name, "password": password, "then": then})[0]


@pytest.fixture
def people(registered):
    """One person of each role, called by it."""
    for role in ROLES:
        registered.add_person(role, role, password=WORDS)
    return registered


@pytest.fixture
def console(people, start_headrace):
    return start_headrace("--workspace", people.places.url, "console", "--port", "0")["port"]


def test_from_the_first_person_on_everybody_signs_in(registered, start_headrace):
    root = registered.places.url
    port = start_headrace("--workspace", root, "console", "--port", "0")["port"]
    anybody = Browser(port)
    assert anybody.ask("GET", "/")[0] == 200
    made = headrace_command("--workspace", root, "people", "add", "Anna", "--role", "admin")
    code = made.stdout.strip()
    assert made.returncode == 0 and len(code) == 24, made.stderr
    eventually(lambda: anybody.ask("GET", "/models/late")[0] == 303)
    assert anybody.headers["location"] == "/sign-in?then=/models/late"
    assert anybody.ask("GET", "/api/models", accept="*/*")[0] == 401
    page = anybody.ask("GET", "/sign-in")[1]
    assert "late" not in page and "I have a code" in page
    said = {"name": "anna", "code": code, "password": WORDS, "again": WORDS + "x"}
    assert "The two passwords differ" in anybody.ask("POST", "/welcome", said)[1]
    assert anybody.ask("POST", "/welcome", {**said, "again": WORDS})[0] == 303
    status, page = anybody.ask("GET", "/people")
    assert status == 200 and "anna, admin" in page
    assert anybody.ask("POST", "/people", {"name": "berta", "role": "viewer"})[0] == 200
    code = re.search(r'<code id="code">([^<]+)</code>', anybody.ask("POST", "/people/berta/reset", {})[1])[1]
    assert anybody.ask("POST", "/people/berta/role", {"role": "approver"})[0] == 303
    assert anybody.ask("POST", "/people/berta/end", {})[0] == 303
    assert anybody.ask("POST", "/people/anna/end", {})[0] == 409
    assert Browser(port).ask("POST", "/welcome", {**said, "name": "berta", "code": code, "again": WORDS})[0] == 401
    actions = [(e.who, e.action, e.subject) for e in registered.audit(6)]
    assert actions == [
        ("anna", "end person", "berta"),
        ("anna", "change role", "berta"),
        ("anna", "reset person", "berta"),
        ("anna", "add person", "berta"),
        ("anna", "sign in", "anna"),
        ("anna", "choose password", "anna"),
    ]
    assert anybody.ask("POST", "/sign-out", {})[0] == 303
    assert anybody.ask("GET", "/")[0] == 303
    content = b"".join(path.read_bytes() for path in registered.places.root.rglob("*") if path.is_file())
    assert WORDS.encode() not in content and code.encode() not in content


def test_each_route_asks_for_the_right_role(console):
    pages = [("GET", "/", "any"), ("GET", "/audit", "admin"), ("GET", "/people", "admin")]
    pages += [("POST", "/people", "admin"), ("POST", "/models/none/versions/9/approve", "approve")]
    pages += [(method, "/models/none/try", "predict") for method in ("GET", "POST")]
    routes = pages + [(m, p, s) for m, p, s, _ in (*VERBS, *PATHS) if s and p not in OPEN and p != "/api/sessions/end"]
    for role, scopes in ROLES.items():
        browser = Browser(console)
        assert browser.sign_in(role) == 303
        for method, path, scope in routes:
            at = (
                path.replace("{model}", "none").replace("{n:int}", "9").replace("{id}", "x").replace("{name}", "nobody")
            )
            status, text = browser.ask(method, at, document={} if method == "POST" else None)
            assert status != 401 and (status != 403) == allows(scopes, scope), (role, method, path, status, text)
        assert json.loads(browser.ask("GET", "/api/me")[1]) == {"name": role, "role": role, "scopes": list(scopes)}


def test_a_token_opens_the_api_as_a_session_opens_the_console(console, people):
    program = Browser(console)
    status, text = program.ask("POST", "/api/sessions", document={"name": "operator", "password": WORDS})
    token = json.loads(text)["token"]
    assert status == 200 and token.startswith("hs_")
    bearer = {"authorization": f"Bearer {token}"}
    status, _ = program.ask("POST", "/api/models/late/versions/1/promote", document={"why": "again"}, **bearer)
    assert status == 200 and people.promotions.history("late")[0].who == "operator"
    people.change_role("operator", "viewer")
    assert program.ask("POST", "/api/models/late/rollback", document={}, **bearer)[0] == 403
    assert program.ask("POST", "/api/sessions/end", document={}, **bearer)[0] == 200
    for over in (token, "hs_wrong"):
        assert program.ask("GET", "/api/me", authorization=f"Bearer {over}")[0] == 401
    people.end_person("scientist")
    assert program.ask("POST", "/api/sessions", document={"name": "scientist", "password": WORDS})[0] == 401


def test_keys_of_applications_work_beside_people(console, people):
    _, key = people.create_key("nightly", ["train"])
    program = Browser(console)
    bearer = {"authorization": f"Bearer {key}"}
    assert eventually(lambda: program.ask("GET", "/api/me", **bearer)[0] == 200)
    assert program.ask("POST", "/api/models/none/versions/9/prove", document={}, **bearer)[0] == 404
    assert program.ask("POST", "/api/models/late/rollback", document={}, **bearer)[0] == 403


def test_guessing_is_slowed_down_and_tells_nothing(console):
    browser = Browser(console)
    said = {}
    for name in ("admin", "nobody"):
        for i in range(5):
            status, said[name] = browser.ask("POST", "/api/sessions", document={"name": name, "password": f"wrong {i}"})
            assert status == 401
        assert browser.ask("POST", "/api/sessions", document={"name": name, "password": WORDS})[0] == 429
    assert said["admin"] == said["nobody"]
    assert Browser(console).sign_in("viewer") == 303


@pytest.mark.parametrize(
    "then", ["//evil.example", "https://evil.example", "/\\evil.example", "", "javascript:x", "/\r\nx"]
)
def test_signing_in_leads_nowhere_else(console, then):
    browser = Browser(console)
    assert browser.sign_in("viewer", then=then) == 303
    assert browser.headers["location"] == "/"


def test_what_a_browser_is_told(console):
    browser = Browser(console)
    assert browser.sign_in("viewer", then="/runs?sort=x") == 303
    cookie = browser.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie and browser.headers["location"] == "/runs?sort=x"
    assert browser.ask("GET", "/")[0] == 200
    assert browser.headers["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in str(browser.headers)
    foreign = {"origin": "https://evil.example"}
    assert browser.ask("POST", "/sign-out", {}, **foreign)[0] == 403
    assert browser.ask("GET", "/")[0] == 200
    gone = Browser(console)
    assert gone.ask("GET", "/?part=1", accept="*/*", hx_request="true")[0] == 401
    assert gone.headers["hx-redirect"] == "/sign-in"


def test_one_asks_and_another_approves_in_the_console(ws, tmp_path, start_headrace):
    project = tmp_path / "p"
    project.mkdir()
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(toml.replace("seed    = 1\n", "seed    = 1\nrequire_approval = true\n"))
    (project / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    ws.run(project=project)
    for name, role in (("anna", "admin"), ("berta", "approver")):
        ws.add_person(name, role, password=WORDS)
    port = start_headrace("--workspace", ws.places.url, "console", "--port", "0")["port"]
    anna, berta = Browser(port), Browser(port)
    assert (anna.sign_in("anna"), berta.sign_in("berta")) == (303, 303)
    asked = {"why": "the best so far"}
    assert anna.ask("POST", "/api/models/churn/versions/1/promote", document=asked)[0] == 403
    page = anna.ask("GET", "/models/churn")[1]
    assert "churn@1 waits for approval" in page and "<button>approve" not in page
    assert anna.ask("POST", "/models/churn/versions/1/approve", {"word": "mine"})[0] == 403
    assert "<button>approve churn@1" in berta.ask("GET", "/models/churn")[1]
    assert berta.ask("POST", "/models/churn/versions/1/approve", {"word": "I looked at its slices"})[0] == 303
    (move,) = ws.promotions.history("churn")
    assert (move.who, move.evidence) == ("anna", {"approved_by": "berta", "word": "I looked at its slices"})


def test_beyond_this_machine_a_person_is_enough(registered, start_headrace):
    registered.add_person("anna", "admin", password=WORDS)
    server = start_headrace("--workspace", registered.places.url, "console", "--host", "0.0.0.0", "--port", "0")
    assert Browser(server["port"]).ask("GET", "/")[0] == 303


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("add", "Anna Smith"), 2, "cannot be the name of a person"),
        (("add", "anna", "--role", "king"), 2, "is not one of"),
        (("add", "anna", "--oidc"), 2, "No identity provider is set"),
        (("add", "anna", "--password-stdin"), 2, "holds no password"),
        (("role", "nobody", "admin"), 3, "There is no account of 'nobody'"),
        (("end", "nobody"), 3, "no account"),
        (("reset", "nobody"), 3, "no account"),
    ],
)
def test_what_cannot_be_is_refused(ws, words, code, says):
    done = headrace_command("--workspace", ws.places.url, "people", *words)
    assert done.returncode == code and says in " ".join(done.stderr.split()), done.stderr
    assert ws.people() == []
