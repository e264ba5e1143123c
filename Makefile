# gancli. `make quickstart` walks the whole way on a fresh machine, `make test` is what CI runs; each makes its own
# .venv when there is none. Another environment, used as it is: make check VENV=/path/to/venv

PYTHON ?= python3
VENV ?= .venv
OUT ?= quickstart
PIP_FLAGS ?= --quiet --disable-pip-version-check
BIN = $(VENV)/bin

ifeq ($(VENV),.venv)
INSTALLED = .venv/installed
INSTALLED_DEV = .venv/installed-dev
endif

.DEFAULT_GOAL := help
.PHONY: help quickstart test check bench learn docs clean

help:  ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

quickstart: $(INSTALLED)  ## install, then demo data -> encoder -> FF-GAN -> images -> scores (about 15 minutes on 2 cores)
	PATH="$(abspath $(BIN)):$$PATH" bash recipes/quickstart.sh "$(OUT)"

test: $(INSTALLED_DEV)  ## format, lint, types and all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

check: $(INSTALLED_DEV)  ## the same without the slow tests; mends the format first
	$(BIN)/ruff format .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m "not slow"

bench: $(INSTALLED_DEV)  ## time a training step, a filled image, prepare, the loader and scores against what they are compared with
	@for file in tests/benchmarks/bench_*.py; do $(BIN)/python -m "tests.benchmarks.$$(basename "$$file" .py)" || exit 1; done

learn: $(INSTALLED_DEV)  ## the learning proofs of every model, with their figures (long)
	@for file in tests/learn/[!_]*.py; do $(BIN)/python -m "tests.learn.$$(basename "$$file" .py)" || exit 1; done

docs: $(INSTALLED_DEV)  ## write docs/cli.md anew from the commands' help
	$(BIN)/python docs/generate_cli.py

clean:  ## remove the environment and caches; data and runs stay
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"gancli needs Python 3.11 or newer, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv

# The stamps are older than pyproject.toml when its dependencies may have changed.
.venv/installed: pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install $(PIP_FLAGS) --editable .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	.venv/bin/python -m pip install $(PIP_FLAGS) --editable ".[dev]"
	@touch .venv/installed $@
