"""Keys are known by their hash, asked for by scope, and held to their quota."""

import base64
import hashlib

import pytest

from headrace.kernel.errors import KeyNeeded, Overloaded, Refused
from headrace.kernel.routes import Key
from headrace.serving.guard import Guard, shown_key


def keys(*made):
    return {hashlib.sha256(key.id.encode()).hexdigest(): key for key in made}


SHOP = Key("shop-key", "shop", ("predict",), quota=2.0)
ADMIN = Key("admin-key", "ops", ("admin",))
KNOWN = keys(SHOP, ADMIN)


def bearer(text):
    return {b"authorization": f"Bearer {text}".encode()}


def test_three_ways_to_show_a_key():
    basic = base64.b64encode(b"anybody:shop-key")
    for headers in (bearer("shop-key"), {b"x-api-key": b"shop-key"}, {b"authorization": b"basic " + basic}):
        assert Guard(True).admit(KNOWN, headers, "predict") is SHOP
    assert shown_key({}) is None
    for broken in (b"Basic !!!", b"Digest x", b"shop-key"):
        with pytest.raises(KeyNeeded):
            Guard(False).admit(KNOWN, {b"authorization": broken}, "predict")


def test_scopes():
    guard = Guard(True)
    for scope in ("predict", "deploy", "admin", "any"):
        assert guard.admit(KNOWN, bearer("admin-key"), scope) is ADMIN
    assert guard.admit(KNOWN, bearer("shop-key"), "any") is SHOP
    for scope in ("deploy", "admin"):
        with pytest.raises(Refused, match="is for predict"):
            guard.admit(KNOWN, bearer("shop-key"), scope)
    assert guard.admit(KNOWN, {}, None) is None


def test_required_or_not():
    with pytest.raises(KeyNeeded):
        Guard(True).admit({}, {}, "predict")
    assert Guard(False).admit(KNOWN, {}, "predict") is None
    assert Guard(False).admit({}, bearer("whatever"), "predict") is None
    with pytest.raises(KeyNeeded, match="revoked"):
        Guard(False).admit(KNOWN, bearer("whatever"), "predict")


def test_a_revoked_key_is_forgotten_with_the_next_document():
    guard = Guard(True)
    assert guard.admit(KNOWN, bearer("shop-key"), "predict") is SHOP
    with pytest.raises(KeyNeeded):
        guard.admit(keys(ADMIN), bearer("shop-key"), "predict")


def test_a_quota_fills_again_with_time():
    now = [0.0]
    guard = Guard(True, clock=lambda: now[0])

    def allowed():
        try:
            guard.spend(SHOP)
        except Overloaded:
            return False
        return True

    assert [allowed() for _ in range(4)] == [True, True, False, False]
    now[0] = 0.4
    assert not allowed()
    now[0] = 0.6
    assert [allowed(), allowed()] == [True, False]
    now[0] = 60.0
    assert [allowed() for _ in range(3)] == [True, True, False]
    assert all(guard.spend(ADMIN) is None for _ in range(100))
