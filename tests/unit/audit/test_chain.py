"""The chain finds every edit, removal and reordering."""

import sqlite3
from pathlib import Path

import pytest

from headrace.audit.log import AuditLog
from headrace.audit.signing import open_signer
from headrace.kernel.clock import utc_now
from headrace.kernel.database import open_database
from headrace.kernel.errors import NotTrusted
from headrace.kernel.objects import Objects


@pytest.fixture
def log(tmp_path):
    database = open_database(f"sqlite:///{tmp_path}/headrace.db")
    log = AuditLog(database, open_signer(tmp_path / "key"), Objects(tmp_path), tmp_path / "head.json", utc_now)
    for i in range(6):
        with log.change() as change:
            change.entry("me", "promote", f"m@{i}", why=f"reason {i}")
    yield log
    database.close()


def tamper(tmp_path: Path, *statements: str) -> None:
    connection = sqlite3.connect(tmp_path / "headrace.db")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_untouched_chain_is_intact(log):
    report = log.verify()
    assert report.intact
    assert report.entries == 6


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE audit SET detail = \'{"why":"another"}\' WHERE seq = 3',
        "UPDATE audit SET who = 'you' WHERE seq = 6",
        "UPDATE audit SET time = '2020-01-01T00:00:00.000000Z' WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 6",
        "DELETE FROM audit WHERE seq > 2",
        "DELETE FROM audit",
    ],
)
def test_every_edit_and_removal_is_found(log, tmp_path, statement):
    tamper(tmp_path, statement)
    assert not log.verify().intact


def test_a_reordering_is_found(log, tmp_path):
    tamper(
        tmp_path,
        "UPDATE audit SET seq = 100 WHERE seq = 2",
        "UPDATE audit SET seq = 2 WHERE seq = 3",
        "UPDATE audit SET seq = 3 WHERE seq = 100",
    )
    assert not log.verify().intact


def test_a_forged_entry_at_the_end_is_found(log, tmp_path):
    """Its hash may be right, but only this workspace's key signs."""
    from headrace.audit.chain import link_hash

    last = log.entries(1)[0]
    link = link_hash(7, "2026-01-01T00:00:00.000000Z", "me", "promote", "m@9", "{}", last.hash)
    values = ("2026-01-01T00:00:00.000000Z", "me", "promote", "m@9", "{}", last.hash, link, "00" * 64)
    connection = sqlite3.connect(tmp_path / "headrace.db")
    connection.execute("INSERT INTO audit VALUES (7, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    connection.commit()
    connection.close()
    assert any("signature" in problem for problem in log.verify().problems)


def test_a_lost_or_altered_head_is_found(log, tmp_path):
    head = tmp_path / "head.json"
    content = head.read_bytes()
    head.write_bytes(content.replace(b'"seq":6', b'"seq":5'))
    assert not log.verify().intact
    head.unlink()
    assert not log.verify().intact


def test_a_change_that_fails_leaves_no_entry(log):
    with pytest.raises(KeyError), log.change() as change:
        change.entry("me", "promote", "m@7")
        raise KeyError
    assert log.verify().entries == 6


def test_a_file_that_is_no_key_is_refused(tmp_path):
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(NotTrusted, match="does not hold a signing key"):
        open_signer(tmp_path / "key")


def test_a_removal_stays_found_after_further_changes(log, tmp_path):
    """The head does not move past a break."""
    tamper(tmp_path, "DELETE FROM audit WHERE seq > 4")
    for i in range(4):
        with log.change() as change:
            change.entry("me", "promote", f"m@{i}")
    assert log.verify().entries == 8
    assert not log.verify().intact


def test_an_emptied_log_without_its_head_is_found(log, tmp_path):
    tamper(tmp_path, "DELETE FROM audit")
    (tmp_path / "head.json").unlink()
    assert not log.verify().intact
