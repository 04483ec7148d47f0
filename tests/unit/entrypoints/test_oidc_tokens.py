"""Which tokens of a provider are for this console: signed with a key pair, for this client, and nothing but ID tokens."""

import time

import pytest

pytest.importorskip("joserfc")
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from headrace.entrypoints.console.oidc import RoleRule, _verified, role_rule
from headrace.kernel.errors import InvalidInput

ISSUER = "https://id.example.org/"
KEY = RSAKey.generate_key(2048, {"kid": "k1"})
KEYS = KeySet([KEY]).as_dict(private=False)


def token(header=None, **claims):
    told = {"iss": ISSUER, "aud": "headrace", "sub": "1", "exp": int(time.time()) + 60, **claims}
    told = {name: value for name, value in told.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": "k1", **(header or {})}, told, KEY)


@pytest.mark.parametrize(
    "claims", [{}, {"aud": ["headrace"]}, {"azp": "headrace", "aud": ["headrace", "other"]}, {"typ": "ID"}]
)
def test_an_id_token_for_this_client(claims):
    assert _verified(token(**claims), KEYS, ISSUER, "headrace")["sub"] == "1"


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"aud": "other"}),
        ({}, {"aud": ["headrace", "account"], "azp": "evil-app"}),
        ({}, {"aud": ["headrace", "account"]}),
        ({}, {"azp": "evil-app"}),
        ({}, {"iss": "https://id.example.org"}),
        ({}, {"exp": int(time.time()) - 120}),
        ({}, {"exp": None}),
        ({}, {"sub": None}),
        ({}, {"typ": "Bearer"}),
        ({}, {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ({"typ": "at+jwt"}, {}),
        ({"typ": "logout+jwt"}, {}),
    ],
)
def test_any_other_token_is_refused(header, claims):
    with pytest.raises((JoseError, ValueError)):
        _verified(token(header, **claims), KEYS, ISSUER, "headrace")


def test_a_rule_of_roles():
    rule = role_rule("groups: ml-admins = admin , ml=scientist,*=viewer")
    assert rule == RoleRule("groups", (("ml-admins", "admin"), ("ml", "scientist"), ("*", "viewer")))
    assert [rule.role({"groups": groups}) for groups in (["ml", "ml-admins"], "ml", [], None)] == [
        "admin",
        "scientist",
        "viewer",
        "viewer",
    ]
    assert role_rule("") is None and RoleRule("g", (("a", "admin"),)).role({"g": ["b"]}) is None
    for wrong in ("admin", "groups:", "groups:=admin", "groups:a=", "groups:a=king", ":a=admin"):
        with pytest.raises(InvalidInput):
            role_rule(wrong)
