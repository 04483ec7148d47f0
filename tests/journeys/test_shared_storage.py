"""A workspace on PostgreSQL and object storage: several machines, each with a cache of its own, and none of them needed."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import polars as pl
import pytest
from tests.conftest import EXAMPLES, Threshold, call, eventually, headrace_command
from tests.servers import shared_servers

import headrace
from headrace.kernel.clock import utc_now
from headrace.kernel.errors import Conflict, InvalidInput, NotTrusted, StorageUnavailable
from headrace.registry.versions import Versions

pytestmark = [pytest.mark.servers, pytest.mark.embedded]
ROW = {"minutes": 44.0, "carrier": "UA"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with shared_servers(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture
def machine(servers, tmp_path, monkeypatch):
    """What another machine has of the environment: the same credentials, and a cache of its own."""
    for name, value in servers.environment.items():
        monkeypatch.setenv(name, value)

    def switch(name):
        monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / name))
        return {"HEADRACE_CACHE": str(tmp_path / name)}

    switch("first")
    return switch


@pytest.fixture
def url(servers, machine):
    return servers.fresh()


def opened(url, machine, name):
    machine(name)
    return headrace.open(url)


def test_what_one_machine_registers_the_others_serve(url, machine, example, start_headrace):
    first = opened(url, machine, "first")
    first.register("late", Threshold(30.0), example=example)
    first.promote("late@1")
    expected = first.predict("late", [ROW])
    second = opened(url, machine, "second")
    assert second.predict("late", [ROW]).equals(expected)
    assert all(path.stat().st_mode & 0o077 == 0 for path in second.places.signing_key.parent.glob("*.key"))
    assert second.verify() == [] and second.signing_key().id == first.signing_key().id
    server = start_headrace("--workspace", url, "serve", "--port", "0", env=machine("third"))
    status, answer = call("POST", f"{server['url']}/models/late/predict", ROW)
    assert status == 200 and answer["predictions"][0]["prediction"] == expected["prediction"][0]
    assert not second.tables.ingest().height or second.trace(f"{answer['id']}.0")
    eventually(lambda: second.tables.ingest().height or second.tables.find(f"{answer['id']}.0")[0].height)
    second.record_outcomes(pl.DataFrame({"prediction_id": [f"{answer['id']}.0"], "outcome": [True]}))
    assert first.trace(f"{answer['id']}.0")["outcomes"][0]["outcome"] is True
    second.register("late", Threshold(5.0), example=example)
    second.promote("late@2")
    eventually(lambda: call("POST", f"{server['url']}/models/late/predict", ROW)[1]["version"] == 2)
    eventually(lambda: first.scoring().processes == 1)
    for ws in (first, second):
        ws.close()


def test_scoring_goes_on_when_database_and_storage_are_gone(tmp_path, monkeypatch, example, start_headrace):
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    with shared_servers(tmp_path) as servers:
        for name, value in servers.environment.items():
            monkeypatch.setenv(name, value)
        url = servers.fresh()
        ws = headrace.open(url)
        ws.register("late", Threshold(30.0), example=example)
        ws.promote("late@1")
        ws.close()
        server = start_headrace("--workspace", url, "serve", "--port", "0")
        assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
    assert call("POST", f"{server['url']}/models/late/predict", ROW)[0] == 200
    assert call("GET", f"{server['url']}/ready")[0] == 200
    again = start_headrace("--workspace", url, "serve", "--port", "0")  # from what this machine keeps
    assert call("POST", f"{again['url']}/models/late/predict", ROW)[0] == 200
    with pytest.raises(StorageUnavailable, match="could not be used"):
        headrace.open(url)
    segments = tmp_path / "cache"
    assert eventually(lambda: list(segments.rglob("*.seg")))  # nothing is lost: it waits on this machine


def test_a_project_runs_on_any_worker_and_the_proof_on_another(url, machine, tmp_path):
    project = tmp_path / "p"
    shutil.copytree(EXAMPLES / "starter", project)
    ws = opened(url, machine, "first")
    assert ws.run(project=project).reference == "churn@1"
    other = opened(url, machine, "second")
    proof = other.prove("churn@1", same_environment=True)
    assert proof.level == "L0" and proof.inputs[0].same
    snapshot = other.snapshots.list()[0]
    assert other.snapshots.read(snapshot).height == snapshot.rows
    assert other.diff("churn@1", "churn@1") and other.evidence("churn@1")["proofs.json"]
    for one in (ws, other):
        one.close()


def test_altered_objects_are_found(url, machine, example):
    ws = opened(url, machine, "first")
    version = ws.register("late", Threshold(30.0), example=example)
    ws.snapshots.take("numbers", pl.DataFrame({"id": range(20), "x": [1.0] * 20}), keys=("id",), who="me")
    objects = ws.places.objects
    objects.put(ws.places.bundles / version.digest / "schema.json", b"{}")
    other = opened(url, machine, "second")
    with pytest.raises(NotTrusted):
        other.predict("late@1", [ROW])
    assert any("late@1" in problem for problem in other.verify())
    table = next(p for p in objects.children(ws.places.datasets / "numbers") if p.suffix == ".parquet")
    objects.put(table, b"PAR1 nothing PAR1")
    assert any("numbers" in problem for problem in other.verify())
    objects.put(ws.places.audit_head, json.dumps({"seq": 1, "hash": "0" * 64, "signature": "00"}).encode())
    assert not other.verify_audit().intact
    for one in (ws, other):
        one.close()


def test_what_nothing_refers_to_is_freed_in_storage(url, machine, example):
    ws = opened(url, machine, "first")
    ws.register("late", Threshold(30.0), example=example)
    for value in range(3):
        ws.snapshots.take("numbers", pl.DataFrame({"id": range(9), "x": [float(value)] * 9}), keys=("id",), who="me")
    ws.places.objects.put(ws.places.bundles / "orphan" / "file", b"nobody's")
    assert {one.kind for one in ws.gc(timedelta(0))} == {"snapshot"}
    assert ws.places.objects.exists(ws.places.bundles / "orphan")  # somebody may be about to enter it
    ws.close()
    ws = headrace.open(url, clock=lambda: utc_now() + timedelta(days=2))
    freed = ws.gc(timedelta(0))
    assert {one.kind for one in freed} == {"bundle"} and all(one.size for one in freed)
    assert not ws.places.objects.exists(ws.places.bundles / "orphan")
    assert len(ws.snapshots.list()) == 1 and ws.verify() == []
    ws.close()


def test_two_machines_register_at_once_and_nobody_waits_for_an_upload(url, machine, example, monkeypatch):
    """Both upload under the same number; one of them gets it, and the other the next."""
    both = [opened(url, machine, name) for name in ("first", "second")]
    uploaded, writing = threading.Barrier(2, timeout=60), []
    offer = Versions._offer

    def slow(versions, draft, manifest):
        digest = offer(versions, draft, manifest)
        with versions._database.write():
            writing.append(digest)  # the writers' lock is free while they upload
        uploaded.wait()
        return digest

    monkeypatch.setattr(Versions, "_offer", slow)
    with ThreadPoolExecutor(2) as pool:
        limits = (30.0, 5.0)
        found = list(pool.map(lambda ws, t: ws.register("late", Threshold(t), example=example), both, limits))
    assert sorted(version.number for version in found) == [1, 2] and len(set(writing)) == 2
    assert {version.digest for version in found} - set(writing), "the later one was sealed again"
    third = opened(url, machine, "third")
    assert third.verify() == [] and len(third.versions("late")) == 2
    for version, limit in zip(found, limits, strict=True):
        answer = third.predict(version.reference, [{"minutes": limit + 1, "carrier": "UA"}])
        assert answer["prediction"].to_list() == [True]
    for ws in (*both, third):
        ws.close()


def test_a_person_is_forgotten_in_storage(url, machine, example):
    ws = opened(url, machine, "first")
    ws.register("late", Threshold(30.0), example=example)
    ws.record_outcomes(pl.DataFrame({"customer": [7070701, 8], "outcome": [True, False]}))
    ws.tables.ingest()
    assert ws.forget(customer=7070701).outcomes == 1
    objects = ws.places.objects
    held = [path for path in objects.files() if b"7070701" in objects.read(path)]
    assert held == [] and ws.verify() == []
    ws.close()


def test_there_and_back_again(url, machine, example, tmp_path, servers):
    folder = headrace.open(tmp_path / "here")
    folder.register("late", Threshold(30.0), example=example)
    folder.promote("late@1")
    folder.record_outcomes(pl.DataFrame({"customer": [1], "outcome": [True]}))
    expected, entries = folder.predict("late", [ROW]), folder.verify_audit().entries
    folder.close()
    copied = headrace_command("workspace", "copy", str(tmp_path / "here"), url, "--json")
    assert copied.returncode == 0, copied.stderr
    there = opened(url, machine, "second")
    assert there.predict("late", [ROW]).equals(expected) and there.verify_audit().entries == entries
    there.promote("late@1", alias="tested")
    with pytest.raises(Conflict, match="There is a workspace"):
        there.copy(url)
    there.copy(tmp_path / "back")
    back = headrace.open(tmp_path / "back")
    assert back.verify() == [] and back.predict("late", [ROW]).equals(expected)
    assert back.version("late@1").aliases == ("live", "tested")
    elsewhere = servers.fresh()
    back.copy(elsewhere)
    last = opened(elsewhere, machine, "third")
    assert last.verify() == [] and last.tables.ingest().height == 0
    for one in (there, back, last):
        one.close()


def test_private_keys_can_lie_apart(url, machine, example, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADRACE_KEYS", str(tmp_path / "secret"))
    ws = headrace.open(url)
    ws.register("late", Threshold(30.0), example=example)
    kept = [path.name for path in ws.places.objects.files()]
    assert "signing.pub" in kept and not {"audit.key", "signing.key", "capture.key", "console.key"} & set(kept)
    assert {"audit.key", "signing.key"} <= {path.name for path in (tmp_path / "secret").iterdir()}
    ws.close()


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("postgresql://127.0.0.1/x", "PLACE is s3://"),
        ("postgresql://127.0.0.1:port/x?objects=s3://b", "cannot be opened"),
        ("mysql://127.0.0.1/x?objects=s3://b", "expected: a folder, or postgresql://"),
        ("postgresql://me:secret@127.0.0.1:1/x?objects=s3://headrace/x", "could not be used"),
        ("postgresql://postgres@127.0.0.1:{pg}/nowhere?objects=s3://headrace/x", 'database "nowhere" does not exist'),
        ("postgresql://postgres@127.0.0.1:{pg}/postgres?objects=s3://nobucket/x", "could not be used in s3://nobucket"),
        ("postgresql://postgres@127.0.0.1:{pg}/postgres?objects=ftp://x/y", "cannot be opened"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(servers, machine, address, says):
    done = headrace_command("--workspace", address.format(pg=servers.postgres), "models")
    told = " ".join(done.stderr.split())
    assert done.returncode in (2, 5) and says in told, told
    assert "Traceback" not in told and "secret" not in told and "to do:" in told


def test_a_folder_can_be_the_place_for_files(servers, machine, tmp_path, example):
    url = servers.fresh().partition("?")[0] + f"?objects={tmp_path / 'files'}"
    ws = headrace.open(url)
    ws.register("late", Threshold(30.0), example=example)
    assert (tmp_path / "files" / "bundles").is_dir() and ws.verify() == []
    ws.close()
    with pytest.raises(InvalidInput):
        headrace.open("postgresql://x/y")
