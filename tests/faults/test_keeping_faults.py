"""What a damaged table, an interrupted forgetting or a copy in a busy moment must not cost."""

import json
import os
import urllib.error
import urllib.request

import polars as pl
import pytest

from headrace.kernel.errors import Conflict, NotTrusted
from headrace.monitoring import predictions


def test_gc_frees_nothing_of_a_table_whose_log_cannot_be_read(ws):
    from datetime import timedelta

    first = ws.snapshots.take("numbers", pl.DataFrame({"x": [1.0]}), who="me")
    ws.snapshots.take("numbers", pl.DataFrame({"x": [2.0]}), who="me")
    ws.hold(first.digest)
    folder = ws.places.datasets / "numbers"
    for path in folder.glob("*.parquet"):
        os.utime(path, (0, 0))
    log = folder / "_delta_log" / f"{0:020d}.json"
    content = log.read_bytes()
    log.write_bytes(content[:20])
    assert ws.gc(timedelta(0)) == []
    log.write_bytes(content)
    assert ws.verify() == []


def captured(ws, count=4):
    rows = [("a", 17), ("b", 18)] * (count // 2)
    made = {name: pl.Series(name, [None] * len(rows), dtype=kind) for name, kind in predictions.PREDICTIONS.items()}
    made["id"] = pl.Series("id", [f"r{i}.0" for i in range(len(rows))])
    made["key"] = pl.Series("key", [json.dumps({"customer": number}, separators=(",", ":")) for _, number in rows])
    frame = pl.DataFrame(list(made.values())).with_columns(model=pl.lit("late"), date=pl.lit("2026-01-01"))
    ws.tables._append(ws.places.predictions, frame, ["model", "date"], [])
    return frame


@pytest.mark.parametrize("value", [17, "17", 17.0])
def test_a_key_is_found_whatever_type_it_has(ws, value):
    captured(ws)
    assert ws.forget(customer=value).predictions == 2


def test_a_forgetting_that_was_interrupted_is_finished_by_the_next(ws, monkeypatch):
    captured(ws)
    erase = predictions.erase_history

    def broken(objects, path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(predictions, "erase_history", broken)
    with pytest.raises(Exception, match="could not be erased"):
        ws.forget(customer=17)
    assert ws.audit(1)[0].action == "begin to forget"
    monkeypatch.setattr(predictions, "erase_history", erase)
    ws.forget(customer=17)
    for path in ws.places.predictions.rglob("*"):
        if path.suffix == ".parquet" and "_delta_log" not in path.parts:
            assert not any("17" in key for key in pl.read_parquet(path)["key"])
        elif path.is_file():
            assert b'customer\\":17' not in path.read_bytes()


def test_a_table_that_cannot_be_read_is_said(ws):
    captured(ws)
    next(ws.places.predictions.rglob("*.parquet")).unlink()
    assert any("predictions cannot be read" in problem for problem in ws.verify())


def test_a_bundle_that_is_none_is_refused_even_when_it_is_trusted(ws, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(NotTrusted, match="none that Headrace wrote"):
        ws.register("x", tmp_path, trust=True)


def test_an_old_approval_makes_nothing_live_again(ws, tmp_path, monkeypatch):
    from tests.conftest import EXAMPLES

    from headrace.kernel.errors import Refused

    project = tmp_path / "p"
    project.mkdir()
    toml = (EXAMPLES / "starter" / "headrace.toml").read_text()
    (project / "headrace.toml").write_text(toml.replace("seed    = 1\n", "seed    = 1\nrequire_approval = true\n"))
    (project / "churn.py").write_text((EXAMPLES / "starter" / "churn.py").read_text())
    for number in (1, 2):
        ws.run(project=project, smoothing=float(number))
        monkeypatch.setenv("HEADRACE_WHO", "anna")
        with pytest.raises(Refused):
            ws.promote(f"churn@{number}")
        monkeypatch.setenv("HEADRACE_WHO", "berta")
        ws.approve(f"churn@{number}")
    monkeypatch.setenv("HEADRACE_WHO", "mallory")
    with pytest.raises(Conflict, match="was approved by berta and was live already"):
        ws.approve("churn@1")
    assert ws.version("churn").number == 2


def test_nobody_approves_over_http_without_saying_who(ws, start_headrace):
    console = start_headrace("--workspace", ws.places.url, "console", "--port", "0")
    request = urllib.request.Request(f"{console['url']}/api/models/m/versions/1/approve", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=30):
        pass
    assert caught.value.code == 401
    caught.value.close()
