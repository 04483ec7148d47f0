"""Registering, promoting, freeing and copying are killed, or meet a full disk, at each system call that changes the disk.

strace ends the program at the n-th such call, or makes that call fail. Whatever n is: the workspace opens, its audit
chain is whole, every version that it knows has its bundle, what was live answers on, and the act done again succeeds.
CI takes some of the places, `make soak` each of them.
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from tests.clients import absent
from tests.conftest import Threshold
from tests.faults import acts
from tests.faults.load import SOAK

import headrace

CHANGES = (
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,ftruncate,"
    "copy_file_range,sendfile,pwrite64"
)
WRITES = "write,pwrite64,fsync,fdatasync,rename,renameat2,mkdir,link,ftruncate,copy_file_range,sendfile"
ACTS = ("register", "promote", "gc", "copy", "snapshot")
PLACES = 10
ON_A_FILE = re.compile(r"^(\w+)\((?:\d+</(?!dev/)|[^\d])", re.MULTILINE)
ROW = [{"minutes": 44.0, "carrier": "UA"}]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600 if SOAK else 600)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A workspace with two versions, three snapshots and something to free."""
    if shutil.which("strace") is None:
        absent("strace", "strace is not installed")
    root = tmp_path_factory.mktemp("prepared") / "ws"
    ws = headrace.open(root)
    for limit in (30.0, 25.0):
        example = pl.DataFrame({"minutes": [float(i % 60) for i in range(300)], "carrier": ["UA", "AA", "B6"] * 100})
        ws.register("late", Threshold(limit), example=example)
    ws.promote("late@1")
    for value in range(3):
        ws.snapshots.take("numbers", pl.DataFrame({"id": range(20), "x": [float(value)] * 20}), keys=("id",), who="me")
    (root / "bundles" / "orphan").mkdir()
    (root / "bundles" / "orphan" / "file").write_text("nobody's")
    ws.close()
    return root


def strace(act, root, calls, *options):
    """Run an act under strace; its exit code, what it said, and the calls that were seen."""
    log = root.with_name("strace.log")
    command = ["strace", "-y", "-o", str(log), "-e", f"trace={calls}", *options]
    done = subprocess.run(
        [*command, sys.executable, acts.__file__, act, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr, log.read_text()


def places_of(act, prepared, tmp_path, calls):
    """The calls at which the act will be hit: name and how manieth of that name. Only files can be on a full disk: what
    goes to a terminal, a pipe, a socket or a thread that is to wake up (an eventfd) is left out."""
    root = fresh(prepared, tmp_path)
    code, said, log = strace(act, root, calls)
    assert code == 0, said
    seen = Counter()
    found = []
    for line in log.splitlines():
        name = line.partition("(")[0]
        seen[name] += 1
        if ON_A_FILE.match(line):
            found.append((name, seen[name]))
    assert len(found) > 20, log
    return found if SOAK else found[:: max(1, len(found) // PLACES)]


def fresh(prepared, tmp_path) -> Path:
    for leftover in tmp_path.iterdir():
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    shutil.copytree(prepared, tmp_path / "ws")
    return tmp_path / "ws"


def whole(root, act):
    """Open the workspace and see that nothing is lost or half made; then do the act again."""
    ws = headrace.open(root)
    try:
        assert ws.verify() == []
        known = {version.reference for version in ws.versions("late")}
        assert {"late@1", "late@2"} <= known
        live = ws.version("late")
        assert live.number in ((1, 2) if act == "promote" else (1,))
        assert ws.predict("late", ROW)["prediction"].to_list() == [True]
        moves = ws.promotions.history("late")
        assert moves[0].number == live.number
        assert len(ws.audit(1000)) == ws.verify_audit().entries
        copied = root.with_name("copied")
        if copied.exists():
            assert act == "copy"
            shutil.rmtree(copied)
        getattr(acts, act)(ws)
        ws.promotions.publish()
        assert ws.verify() == []
        if act == "copy":
            other = headrace.open(copied)
            assert other.verify() == []
            assert other.predict("late", ROW).equals(ws.predict("late", ROW))
            other.close()
        if act == "gc":
            assert not (root / "bundles" / "orphan").exists()
            assert not (root / "trash").exists()
    finally:
        ws.close()


@pytest.mark.parametrize("act", ACTS)
def test_killed_at(act, prepared, tmp_path):
    for name, number in places_of(act, prepared, tmp_path, CHANGES):
        code = 0
        while code == 0 and number:  # a database writes a page more or less each time: then the one before is hit
            root = fresh(prepared, tmp_path)
            code, said, _ = strace(act, root, CHANGES, "-e", f"inject={name}:signal=SIGKILL:when={number}")
            number -= 1
        assert code in (-9, 137), (name, number, code, said)
        whole(root, act)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"] if SOAK else ["ENOSPC"])
def test_a_disk_that_refuses_at(act, error, prepared, tmp_path):
    refused = 0
    for name, number in places_of(act, prepared, tmp_path, WRITES):
        root = fresh(prepared, tmp_path)
        lasting = "" if name == "write" else "+"
        code, said, log = strace(act, root, WRITES, "-e", f"inject={name}:error={error}:when={number}{lasting}")
        hit = next((line for line in log.splitlines() if line.endswith("(INJECTED)")), None)
        if hit is not None and not ON_A_FILE.match(hit):  # threads wake each other a time more or less
            continue
        assert code in (0, 5), (name, number, code, said[-3000:])
        if code == 5:
            refused += 1
            assert "'todo'" in said, said
        whole(root, act)
    assert refused >= 3
