"""Passwords are kept as scrypt hashes with their costs, and guessing is slowed down."""

import base64
import contextlib

import pytest

from headrace.access.attempts import FREE, LONGEST_WAIT, MOST_AT_ONCE, Attempts
from headrace.access.passwords import check_password, hashed, matches
from headrace.kernel.errors import InvalidInput, KeyNeeded, Overloaded


def test_a_hash_is_of_its_password_alone():
    one, other = hashed("correct horse battery"), hashed("correct horse battery")
    assert one != other and one.startswith("scrypt$15$8$3$")
    assert matches("correct horse battery", one) and not matches("correct horse batterz", one)


def test_the_same_letters_typed_otherwise_are_the_same_password():
    assert matches("cafe\u0301 au lait, s'il", hashed("caf\u00e9 au lait, s'il"))


def test_the_costs_stand_beside_the_hash():
    """The vector of RFC 7914, section 12, whose first 32 bytes are those of a hash of that length."""
    vector = "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
    salt, kept = (base64.b64encode(data).decode() for data in (b"SodiumChloride", bytes.fromhex(vector)))
    assert matches("pleaseletmein", f"scrypt$14$8$1${salt}${kept}")


@pytest.mark.parametrize("password", ["", "eleven char", "a" * 20, "abababababab", "annaannaannaanna", "x" * 257])
def test_what_is_worth_nothing_is_refused(password):
    with pytest.raises(InvalidInput, match="The password"):
        check_password(password, "anna")


class Now:
    def __init__(self):
        self.at = 0.0

    def __call__(self):
        return self.at


def wrong(attempts, name="anna", address="10.0.0.1"):
    with contextlib.suppress(KeyNeeded), attempts.one(name, address):
        raise KeyNeeded("no", todo="")


def right(attempts, name="anna", address="10.0.0.1"):
    with attempts.one(name, address):
        pass


def test_after_some_wrong_ones_one_waits_longer_and_longer():
    now = Now()
    attempts = Attempts(now)
    for _ in range(FREE):
        wrong(attempts)
    waits = []
    for _ in range(15):
        with pytest.raises(Overloaded, match="failed") as refused:
            wrong(attempts)
        waits.append(int(refused.value.expected.split()[-2]))
        now.at += waits[-1]
        wrong(attempts)
    assert waits[:4] == [1, 2, 4, 8] and waits[-1] == LONGEST_WAIT
    right(attempts, address="10.0.0.2")
    now.at += LONGEST_WAIT
    with contextlib.suppress(ValueError), attempts.one("anna", "10.0.0.1"):
        raise ValueError  # says nothing of the password
    with pytest.raises(Overloaded):
        now.at -= LONGEST_WAIT
        right(attempts)
    now.at += LONGEST_WAIT
    right(attempts)
    wrong(attempts)


def test_one_network_of_ipv6_is_one_caller():
    attempts = Attempts(Now())
    for n in range(FREE):
        wrong(attempts, address=f"2001:db8::{n}")
    with pytest.raises(Overloaded):
        right(attempts, address="2001:db8::ffff")
    right(attempts, address="2001:db8:0:1::1")


def test_only_some_are_looked_at_at_once_and_an_error_gives_the_place_back():
    attempts = Attempts(Now())
    held = [attempts.one(f"p{i}", "") for i in range(MOST_AT_ONCE)]
    for one in held:
        one.__enter__()
    with pytest.raises(Overloaded, match="same time"):
        wrong(attempts, "late")
    for one in held:
        one.__exit__(None, None, None)
    wrong(attempts, "late")
