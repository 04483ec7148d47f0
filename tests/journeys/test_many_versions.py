"""10,000 versions and 100,000 runs are listed and searched in under 100 ms."""

import json
import time

import msgspec
import pytest
import sqlalchemy as sa
from tests.conftest import address, headrace_command

from headrace.kernel import tables
from headrace.kernel.clock import to_text
from headrace.kernel.errors import InvalidInput
from headrace.kernel.records import Metric
from headrace.registry.search import words_of
from headrace.registry.versions import _metric_rows, _version_row

VERSIONS, RUNS, SECONDS = 10_000, 100_000, 0.1


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """A workspace whose tables are as long as years of work would make them; the rows are copies of real ones."""
    import polars as pl
    from tests.conftest import Threshold

    import headrace

    ws = headrace.open(address(tmp_path_factory.mktemp("crowded") / "ws"))
    example = pl.DataFrame({"minutes": [float(i % 60) for i in range(300)], "carrier": ["UA", "AA", "B6"] * 100})
    real = ws.register("late", Threshold(30.0), example=example)
    certificate = msgspec.json.encode(real.certificate).decode()
    versions, metrics, certificates = [], [], []
    for number in range(2, VERSIONS + 1):
        value = Metric(value=number / VERSIONS, low=0.0, high=1.0, rows=100)
        lineage = msgspec.structs.replace(real.lineage, run=f"run-{number}", commit=f"c{number:08x}")
        changes = {"number": number, "metrics": {"roc_auc": value}, "lineage": lineage, "digest": f"{number:064x}"}
        version = msgspec.structs.replace(real, **changes)
        versions.append({**_version_row(version), "words": words_of(version, {"depth": number % 7})})
        metrics += _metric_rows(version)
        certificates.append(
            {"id": f"c{number:08}", "model": "late", "number": number, "passed": True, "document": certificate}
        )
    now = to_text(real.created)
    runs = [
        {"id": f"{number:08x}-run", "model": "late", "kind": "train", "status": "done", "params": {"depth": number % 11},
         "reason": f"because of {number}", "created_by": "anna", "created": now, "parent": "", "code": "", "root": "",
         "snapshot": "", "words": f"{number:08x}-run late because of {number} anna depth={number % 11}"}
        for number in range(RUNS)
    ]  # fmt: skip
    with ws.database.write() as connection:
        for table, rows in ((tables.versions, versions), (tables.version_metrics, metrics), (tables.certificates, certificates), (tables.runs, runs)):  # fmt: skip
            connection.execute(sa.insert(table), rows)
    yield ws
    ws.close()


ASKED = {
    "a model's versions": lambda ws: ws.versions("late", 50),
    "the next page": lambda ws: ws.versions("late", 50, before=5_000),
    "one version": lambda ws: [ws.version("late@7777")],
    "the newest": lambda ws: [ws.version("late")],
    "by words": lambda ws: ws.search("depth=3 c0000"),
    "by a digest": lambda ws: ws.search(f"{7777:064x}"),
    "by a word that none has": lambda ws: ws.search("nobody") or [None],
    "by metrics": lambda ws: ws.search(where=["roc_auc>0.5", "roc_auc<=0.5003"]),
    "by all": lambda ws: ws.search("depth=5", model="late", where=["roc_auc>0.99"]),
    "runs": lambda ws: ws.runs("late"),
    "runs by words": lambda ws: ws.runs(words="of 777"),
    "runs by a word that none has": lambda ws: ws.runs(words="nobody") or [None],
    "models": lambda ws: ws.models(),
}


@pytest.mark.parametrize("what", ASKED)
def test_in_under_a_tenth_of_a_second(crowded, what):
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        assert ASKED[what](crowded)
        taken.append(time.perf_counter() - began)
    assert min(taken) < SECONDS, taken


def test_what_is_found_is_right(crowded):
    found = crowded.search("depth=3", where=["roc_auc>0.9995"], limit=1000)
    assert {hit.version for hit in found} == {f"late@{n}" for n in range(9_996, VERSIONS + 1) if n % 7 == 3}
    (hit,) = crowded.search(f"{7777:064x}")
    assert (hit.version, hit.metrics) == ("late@7777", {"roc_auc": 0.7777})
    assert [v.number for v in crowded.versions("late", 3, before=100)] == [99, 98, 97]
    assert {run.reason for run in crowded.runs(words="of 7777", limit=200)} >= {"because of 7777", "because of 77770"}
    for wrong in ("roc_auc", "roc_auc>>1", "roc_auc>x", "1>roc_auc"):
        with pytest.raises(InvalidInput, match="is no condition"):
            crowded.search(where=[wrong])
    assert crowded.search("100%_") == []


def test_by_the_command_line(crowded):
    words = ["--workspace", crowded.places.url, "search", "depth=3", "--where", "roc_auc>0.9995", "--json"]
    done = headrace_command(*words)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(crowded.search("depth=3", where=["roc_auc>0.9995"]))
