# Needs make and a Python from 3.11 to 3.14; everything else goes into .venv. Try `make help`.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)

# The environment is made anew when what it is made from has changed, whatever the files' times say.
KEY := $(shell cat requirements-dev.txt pyproject.toml | cksum | cut -d' ' -f1)
STAMP := .venv/.made-from-$(KEY)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help venv run test test-client test-server test-shell test-apache check format conformance conformance-1 interop contest bench simulate mutants simulate-whole crashpoints damage soak mutation linearize fuzz hostile lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Compiled ahead, because a server that must compile its own source first starts half a second later; and Python does
# not keep what it compiles where PYTHONDONTWRITEBYTECODE is set.
venv: $(STAMP)  ## make .venv with the locked packages and zabpy itself, if it is not up to date
	@$(BIN)/python -m compileall -q zabpy shell

$(STAMP):
	@test -n "$(PYTHON)" || { echo "make: no Python from 3.11 to 3.14 on the PATH; name one with PYTHON=..." >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear .venv || { \
		echo "make: $(PYTHON) cannot make a virtual environment; its package for that is often called python3-venv" >&2; \
		rm -rf .venv; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --no-index -e .
	@rm -f .venv/.made-from-* && touch $@

run: venv  ## three servers on this machine, from nothing, and a shell on them; without a terminal: until Ctrl-C
	@$(BIN)/zabpy dev --servers 3 --shell

test: venv  ## all tests
	$(BIN)/python -m pytest $(ARGS)

# Three parts, of which the first takes about as long as the others: make -j2 test-client test-server test-shell.
CLIENT_TESTS := $(addprefix tests/,client recipes blocking config testing mutation test_docs.py test_examples.py)
OTHER_TESTS := $(addprefix --ignore=,$(CLIENT_TESTS) tests/shell tests/interop tests/apache)

test-client: venv  ## the tests of what programs use: client, recipes, config, plain code, test kit, docs, examples
	$(BIN)/python -m pytest $(CLIENT_TESTS) $(ARGS)

test-shell: venv  ## the tests of the shell
	$(BIN)/python -m pytest tests/shell $(ARGS)

test-server: venv  ## all others, but for those of make interop
	$(BIN)/python -m pytest $(OTHER_TESTS) $(ARGS)

test-apache: venv  ## the tests of client, recipes and shell on Apache's server; skips them where it is not installed
	ZABPY_TESTED_ON=Apache $(BIN)/python -m pytest tests/client tests/recipes tests/blocking tests/shell $(ARGS)

check: venv  ## ruff's rules, ruff's format, mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv  ## put the format right and sort the imports
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

conformance: venv  ## kazoo's own 493 tests, gated by Apache's results (ARGS="--cluster-size 1 test_lock.py -k many ...")
	$(BIN)/python -m tests.conformance.run --gate --keystore pem $(ARGS)

conformance-1: venv  ## the same on one server
	$(BIN)/python -m tests.conformance.run --gate --keystore pem --cluster-size 1 $(ARGS)

interop: venv build/node  ## clients that others wrote, and the comparison with Apache's server; skips what is not installed
	$(BIN)/python -m pytest $(wildcard tests/interop tests/apache) $(ARGS)

# The lock file has no addresses: npm knows where to ask. Where it cannot, the tests of this one client are skipped.
build/node: tests/interop/node/package-lock.json
	@rm -rf build/node && mkdir -p build/node && cp tests/interop/node/package*.json build/node/
	@cd build/node && npm ci --silent --no-audit --no-fund || \
		{ echo "make: npm could not install node-zookeeper-client" >&2; rm -rf ../node; }

contest: venv  ## a minute of kazoo's locks against ours while servers are killed (ZABPY_TESTED_ON=Apache: Apache's)
	ZABPY_CONTEST_SECONDS=60 $(BIN)/python -m pytest -q -s tests/interop/test_contest.py $(ARGS)

bench: venv  ## measure speed on this machine
	$(BIN)/zabpy bench $(ARGS)

simulate: venv  ## 2,000 seeded ensembles of five voters with every fault, every invariant checked (ARGS="--first 5000 ...")
	$(BIN)/zabpy simulate --seeds 2000 --servers 5 $(ARGS)

simulate-whole: venv  ## 500 seeds of whole servers and clients in one process, every answer checked (ARGS="--first 1000 ...")
	$(BIN)/zabpy simulate --whole --seeds 500 $(ARGS)

crashpoints: venv  ## one life of an ensemble, cut before and after every operation on its disks (ARGS="--traps": its own check)
	$(BIN)/zabpy crashpoints $(ARGS)

damage: venv  ## every bit of small data directories turned over, every length cut: no start with a wrong state
	$(BIN)/zabpy damage $(ARGS)
mutants: venv  ## every known mistake restored, one at a time: which invariant finds it, and after how many seeds
	$(BIN)/zabpy simulate mutants $(ARGS)

mutation: venv  ## the core changed one line at a time: is it noticed? Goes on where the last run ended (ARGS="--first 300")
	$(BIN)/python -m tests.mutation $(ARGS)

HOURS ?= 1
soak: venv  ## HOURS=1 of five real servers under load and mixed faults, everything checked all along (ARGS="--seed 2 ...")
	$(BIN)/python -m tests.processes.soak --hours $(HOURS) --out build/soak.json $(ARGS)

linearize: venv  ## 500 histories of real processes that are killed, paused, cut off, out of disk; each judged by itself
	$(BIN)/python -m tests.processes.linearize $(ARGS)

fuzz: venv  ## a million changed inputs for each reader of bytes from outside (ARGS="client peer --frames 10000000 --seed 9 ...")
	$(BIN)/python -m zabpy.testing.fuzz $(ARGS)

hostile: venv  ## thousands of idle, slow, deaf and flooding connections on a real server; what others feel of them
	$(BIN)/python -m tests.server.hostile $(ARGS)

lock:  ## renew requirements*.txt from pyproject.toml
	"$(PYTHON)" -m venv build/lock
	build/lock/bin/pip install --quiet --disable-pip-version-check uv
	build/lock/bin/uv pip compile pyproject.toml $(LOCK_OPTIONS) -o requirements.txt
	build/lock/bin/uv pip compile pyproject.toml $(LOCK_OPTIONS) --group dev -c requirements.txt -o requirements-dev.txt

# For every Python we run on, with hashes, and without the name of any package index.
LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"

clean:  ## remove .venv and what tools left behind
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
