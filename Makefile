# The project's commands; `make help` lists them. Everything is installed into .venv here and nothing outside.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

# pip 22.3 and later installs into another environment, which spares the python3-venv package that Debian leaves out.
# An environment of its own brings no pip; where the outer Python has none, ensurepip puts one in.
PIP_INSTALL = if $(PYTHON) -m pip --version >/dev/null 2>&1; \
	then $(PYTHON) -m pip --python $(RUN) install --quiet --disable-pip-version-check $(1); \
	else $(RUN) -m ensurepip --upgrade >/dev/null && $(RUN) -m pip install --quiet --disable-pip-version-check $(1); fi

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test lint types check format conformance schema autobahn interop-node clean
.DELETE_ON_ERROR:

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

$(RUN):
	@command -v $(PYTHON) >/dev/null || { echo "TrioMQ needs Python 3.11 or later; '$(PYTHON)' was not found."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "TrioMQ needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.13"; \
		exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version 2>&1)"
	@$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/installed: pyproject.toml | $(RUN)
	@echo "Installing the broker into $(VENV)"
	@$(call PIP_INSTALL,--editable .)
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(RUN)
	@echo "Installing the broker and its development tools into $(VENV)"
	@$(call PIP_INSTALL,--editable '.[dev]')
	@touch $@ $(VENV)/installed

setup: $(VENV)/installed  ## Install the broker into .venv
	@echo "Ready. Start it with: $(VENV)/bin/broker serve"

setup-dev: $(VENV)/installed-dev  ## Install the broker and what its tests and checks need into .venv

demo: $(VENV)/installed  ## Start the broker and a fleet of simulated devices, and show their topics until Ctrl-C
	@exec $(RUN) -m broker demo

test: $(VENV)/installed-dev  ## Run every test (PYTEST_FLAGS adds options)
	@$(RUN) -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/installed-dev types  ## Check style, format and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

types: $(VENV)/installed-dev
	@$(RUN) -m mypy

check: lint test  ## Lint, types and tests: what a change must pass

format: $(VENV)/installed-dev  ## Put the source into the project's format
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

conformance: $(VENV)/installed-dev  ## Write docs/conformance.md anew
	@$(RUN) -m tests.conformance.generate

schema: $(VENV)/installed  ## Write config/broker.toml, its schema and the tables of its guide anew
	@$(RUN) -m broker.config.text

autobahn: $(VENV)/installed-dev  ## Run Autobahn's fuzzing client against the frame layer (needs a Python 2.7)
	@$(RUN) -m tests.websocket.autobahn

tests/interop/node/node_modules/.package-lock.json: tests/interop/node/package-lock.json
	@cd tests/interop/node && npm ci --ignore-scripts --loglevel=error && touch node_modules/.package-lock.json

interop-node: tests/interop/node/node_modules/.package-lock.json  ## Install the JavaScript clients of tests/interop

clean:  ## Remove all that these commands made
	rm -rf $(VENV) tests/interop/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
