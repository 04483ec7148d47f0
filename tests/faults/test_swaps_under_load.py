"""The live version is swapped again and again under load: no request fails, and every reply is of one version, whole.

CI swaps 60 times; `make soak` 1,000 times.
"""

import json

from tests.conftest import Threshold, call, eventually
from tests.faults.load import ALONE, PREDICT, ROW, SOAK, wrk_running

pytestmark = ALONE

SWAPS = 1000 if SOAK else 60
ONE = json.dumps({"rows": [ROW]})
THREE = json.dumps({"rows": [{**ROW, "minutes": minutes} for minutes in (12.0, 3.0, 30.0)]})
EXPECTED = {"1": {"0.2", "0.2 0.05 0.5"}, "2": {"1.0", "1.0 0.25 1.0"}}
GENERATION_VERSION_SHARES = """
    local shares = {}
    for share in body:gmatch('"true":([%d.]+)') do table.insert(shares, share) end
    local version = body:match('"version":(%d+)') or "none"
    return (headers["headrace-generation"] or "none") .. "|" .. version .. "|" .. table.concat(shares, " ")
"""


def test_swaps_fail_and_mix_nothing(registered, example, start_headrace):
    registered.register("late", Threshold(6.0), example=example)
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0")
    url = server["url"] + PREDICT
    with wrk_running(url, ONE, THREE, seconds=60 + 2 * SWAPS, word=GENERATION_VERSION_SHARES) as load:
        for swap in range(SWAPS):
            swap_to(2 - swap % 2, registered, server["url"])
        seen = load.stop()
    assert seen["non_2xx"] == 0, seen["statuses"]
    assert not any(seen["errors"].values()), seen["errors"]
    replies = [(*word.split("|"), count) for word, count in seen["words"].items()]
    assert [reply for reply in replies if reply[2] not in EXPECTED.get(reply[1], ())] == []
    assert {version: {r[2] for r in replies if r[1] == version} for version in ("1", "2")} == EXPECTED
    generations = {generation: version for generation, version, _, _ in replies}
    assert all(generations[generation] == version for generation, version, _, _ in replies)
    assert len(generations) > SWAPS // 2
    assert sum(count for *_, count in replies) > 50 * SWAPS


def swap_to(number, ws, url):
    ws.promote(f"late@{number}")
    generation = json.loads(ws.places.routes.read_bytes())["generation"]
    eventually(lambda: call("GET", f"{url}/ready")[1]["generation"] >= generation)
