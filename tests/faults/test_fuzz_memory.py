"""The whole OpenAPI document of the scoring server is fuzzed: never a fault of ours, and no memory is kept.

CI sends at most 60 requests to each operation with a fixed seed; `make soak` 8,000, some 100,000 in all: those that
take no input run out of different ones.
"""

import contextlib
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from tests.faults.load import SOAK, rss_of

CASES = 8_000 if SOAK else 60
MOST_GROWTH, MOST_SHARE = 8 << 20, 0.05


@pytest.mark.timeout(7200 if SOAK else 300)
@pytest.mark.filterwarnings("ignore")
def test_fuzzing_finds_no_fault_and_keeps_no_memory(registered, start_headrace):
    server = start_headrace("--workspace", registered.places.url, "serve", "--port", "0")
    schema = schemathesis.openapi.from_url(f"{server['url']}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    seen = Counter()
    fuzz(operations, CASES // 2, seen, 1)
    warm = rss_of(server["process"].pid)
    fuzz(operations, CASES // 2, seen, 2)
    grown = rss_of(server["process"].pid) - warm
    assert {200, 422} <= set(seen), seen
    print(f"{seen.total()} requests: {dict(seen)}; the second half keeps {grown >> 10} KB of {warm >> 20} MB")
    assert seen.total() >= (100_000 if SOAK else CASES // 2)
    assert grown <= max(MOST_GROWTH, MOST_SHARE * warm), f"{grown >> 20} MB more than {warm >> 20} MB"


def fuzz(operations, cases, seen, number):
    """Send `cases` requests to each operation, half of them as described and half not, and count the statuses."""
    quiet = settings(max_examples=cases // 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for operation in operations:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seed(number)
            @quiet
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case):
                response = case.call()
                seen[response.status_code] += 1
                assert response.status_code < 500, (case.body, response.text)

            # A negative case needs something to get wrong: an operation without input has none.
            with contextlib.suppress(Unsatisfiable):
                send()
