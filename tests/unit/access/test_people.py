"""Accounts: a code that is used once, names that stand for one, and the identity provider's word."""

from datetime import timedelta

import pytest

from headrace.access.people import CODE_LIVES, Identity, People
from headrace.access.roles import ROLES
from headrace.access.sessions import LIVES, Sessions
from headrace.kernel.clock import utc_now
from headrace.kernel.errors import Conflict, InvalidInput, InvalidName, KeyNeeded, NotFound, Refused

WORDS = "four unrelated words"
THERE = "https://id.example.org"


@pytest.fixture
def people(ws):
    return ws.people_store


@pytest.fixture
def later(ws):
    """The people and sessions of a workspace, some time from now."""

    def at(delta: timedelta):
        def clock():
            return utc_now() + delta

        found = People(ws.database, ws.audit_log, clock)
        return found, Sessions(ws.database, ws.audit_log, clock, found)

    return at


def test_a_code_is_used_once(people, ws):
    person, code = people.add("Anna", "scientist", "root")
    assert (person.name, person.role, person.waiting) == ("anna", "scientist", True)
    with pytest.raises(KeyNeeded):
        people.check("anna", WORDS)
    with pytest.raises(InvalidInput):
        people.choose("anna", code, "short")
    for name, said in (("anna", "x" + code), ("berta", code), ("anna", "")):
        with pytest.raises(KeyNeeded):
            people.choose(name, said, WORDS)
    assert not people.choose("ANNA ", f" {code} ", WORDS).waiting
    with pytest.raises(KeyNeeded):
        people.choose("anna", code, WORDS + "!")
    assert people.check("Anna", WORDS)[0].name == "anna"
    actions = [(e.who, e.action) for e in ws.audit(2)]
    assert actions == [("anna", "choose password"), ("root", "add person")]


def test_a_code_grows_old(people, later):
    _, code = people.add("anna", "viewer", "root")
    with pytest.raises(KeyNeeded, match="too old"):
        later(CODE_LIVES)[0].choose("anna", code, WORDS)


def test_a_reset_ends_password_and_sessions(people, ws):
    people.add("anna", "viewer", "root", password=WORDS)
    token, _ = ws.session_store.open(people.get("anna"), "test")
    assert ws.session_store.person(token).name == "anna"
    _, code = people.reset("anna", "root")
    assert ws.session_store.person(token) is None
    with pytest.raises(KeyNeeded):
        people.check("anna", WORDS)
    people.choose("anna", code, WORDS + "?")
    assert people.check("anna", WORDS + "?")


def test_a_reset_between_the_password_and_the_session_is_seen(people, ws):
    people.add("anna", "admin", "root", password=WORDS)
    person, checked = people.check("anna", WORDS)
    people.reset("anna", "root")
    with pytest.raises(KeyNeeded, match="changed meanwhile"):
        ws.session_store.open(person, "password", checked)


def test_those_who_guess_write_nothing(people, ws):
    people.add("anna", "admin", "root")
    before = len(ws.audit(100))
    with ws.database.write():  # nor do they wait for somebody who writes
        ws.session_store.close("hs_nobodys")
        with pytest.raises(KeyNeeded):
            people.choose("anna", "wrong", WORDS)
    assert len(ws.audit(100)) == before


def test_sessions_end_by_themselves_and_by_signing_out(people, ws, later):
    people.add("anna", "viewer", "root", password=WORDS)
    first, _ = ws.session_store.open(people.get("anna"), "test")
    assert later(LIVES - timedelta(minutes=1))[1].person(first).name == "anna"
    assert later(LIVES)[1].person(first) is None
    second, _ = ws.session_store.open(people.get("anna"), "test")
    ws.session_store.close(second)
    ws.session_store.close(second)
    assert ws.session_store.person(second) is None and ws.session_store.person(first) is not None


def test_an_ended_account_is_nobodys_until_it_is_taken_back(people, ws):
    people.add("root", "admin", "x", password=WORDS)
    people.add("anna", "admin", "root", password=WORDS)
    token, _ = ws.session_store.open(people.get("anna"), "test")
    people.end("anna", "root")
    assert ws.session_store.person(token) is None
    with pytest.raises(KeyNeeded):
        people.check("anna", WORDS)
    with pytest.raises(KeyNeeded, match="changed meanwhile"):
        ws.session_store.open(people.get("anna"), "test")
    for change in (lambda: people.end("anna", "root"), lambda: people.reset("anna", "root")):
        with pytest.raises(NotFound):
            change()
    assert people.add("anna", "viewer", "root")[0].ended is None


def test_there_is_always_an_admin(people):
    people.add("anna", "admin", "root")
    for change in (lambda: people.end("anna", "anna"), lambda: people.change_role("anna", "viewer", "anna")):
        with pytest.raises(Conflict, match="last admin"):
            change()
    people.add("berta", "admin", "anna")
    assert people.change_role("anna", "viewer", "anna").role == "viewer"


def test_a_name_is_one_persons_or_one_applications(people, ws):
    people.add("anna", "viewer", "root")
    with pytest.raises(Conflict):
        people.add("ANNA", "admin", "root")
    with pytest.raises(Conflict, match="name of a person"):
        ws.create_key("anna", ["approve"])
    with pytest.raises(Conflict, match="itself"):
        ws.create_key("policy", ["approve"])
    ws.create_key("shop", ["predict"])
    with pytest.raises(Conflict, match="application"):
        people.add("shop", "admin", "root")
    for name in ("", "policy", "a b", "../x", "a" * 101, "an\nna", "ännä", "\u212aim", "anna\u00a0"):
        with pytest.raises(InvalidName):
            people.add(name, "viewer", "root")
    with pytest.raises(InvalidInput, match="no role"):
        people.add("berta", "king", "root")


def test_an_identity_is_tied_at_the_first_time_and_then_known_by_its_subject(people):
    with pytest.raises(Refused, match="nobody added them"):
        people.admit(Identity(THERE, "1", "anna@example.org", None))
    people.add("anna@example.org", "scientist", "root", issuer=THERE)
    with pytest.raises(Refused):
        people.admit(Identity("https://evil.example.org", "1", "anna@example.org", None))
    assert people.admit(Identity(THERE, "1", "Anna@example.org", None)).role == "scientist"
    assert people.admit(Identity(THERE, "1", "renamed@example.org", None)).name == "anna@example.org"
    with pytest.raises(Refused):
        people.admit(Identity(THERE, "2", "anna@example.org", None))
    people.add("root", "admin", "x")
    people.end("anna@example.org", "root")
    with pytest.raises(Refused, match="ended"):
        people.admit(Identity(THERE, "1", "anna@example.org", None))


def test_where_claims_give_roles_they_are_followed(people, ws):
    assert people.admit(Identity(THERE, "1", "anna", "viewer")).created_by == THERE
    assert people.admit(Identity(THERE, "1", "anna", "operator")).role == "operator"
    assert ws.audit(1)[0].action == "change role"
    assert people.admit(Identity(THERE, "1", "anna", "admin"), signing_in=False).role == "operator"
    people.change_role("anna", "scientist", "root")
    assert people.admit(Identity(THERE, "1", "anna", "operator"), signing_in=False).role == "scientist"
    assert people.admit(Identity(THERE, "9", "nina", "viewer"), signing_in=False).role == "viewer"
    people.add("berta", "viewer", "root", password=WORDS)
    with pytest.raises(Conflict):
        people.admit(Identity(THERE, "2", "berta", "admin"))
    with pytest.raises(Refused, match="signs in at"):
        people.reset("anna", "root")


def test_each_role_is_known_by_its_scopes():
    assert list(ROLES) == ["viewer", "scientist", "operator", "approver", "admin"]
