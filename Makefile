# Two commands do everything on a machine that has Python 3.11 or newer, make and a package registry:
# `make demo` and `make test`. `make help` lists the others.

PYTHON ?= python3
# Of two cores six processes leave less idle than four do: a third of what tests take they wait.
JOBS ?= 6
SOAK_S ?= 3600
FAULTS ?= 4
FAULT_TASKS ?= 500
FAULT_CUT_S ?= 60
FUZZ ?= 4

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# Bytecode is kept, whatever the environment says: without, each of hundreds of processes compiles all that it loads.
unexport PYTHONDONTWRITEBYTECODE

STYLE := $(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/lint-imports --no-logo && $(BIN)/mypy

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test lint compat faults fuzz bench soak format clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=$(PYTHON) makes the environment in $(VENV); JOBS=$(JOBS) test processes run side by side."

demo: $(VENV)/installed-demo ## Start three agents here and send a real operation through them
	@$(BIN)/agentd demo

# All tests are loaded once while the checker of types has the other core: then no test process compiles them again.
test: $(VENV)/installed-dev ## Check everything: style, types, layers, all tests, coverage of the pure half
	@$(BIN)/python -m pytest --collect-only --quiet tests >$(VENV)/collected 2>&1 & { $(STYLE); }; code=$$?; wait; exit $$code
	@$(PYTEST) tests --cov --cov-report=term

lint: $(VENV)/installed-dev ## Check style, types and layers without running a test
	@$(STYLE)

compat: $(VENV)/installed-compat ## Run dislib, as it is on PyPI, on one agent and three, and a real notebook (heavy packages, minutes)
	@$(PYTEST) tests/compat

faults: $(VENV)/installed-dev ## Kill, stop, cut and starve agents four times as often as in a test; FAULTS=20 for more
	@AGENTD_FAULT_TASKS=$(FAULT_TASKS) AGENTD_FAULT_CUT_S=$(FAULT_CUT_S) $(BIN)/python -m pytest -s tests/network
	@AGENTD_FAULT_KILLS=$$(($(FAULTS) * 50)) AGENTD_FAULT_SYSCALLS=$$(($(FAULTS) * 100)) \
	AGENTD_FAULT_STATES=$$(($(FAULTS) * 1000)) AGENTD_FAULT_STEPS=$$(($(FAULTS) * 200)) \
	AGENTD_SEEDS=$$(($(FAULTS) * 1000)) AGENTD_LAW_EXAMPLES=$$(($(FAULTS) * 200)) AGENTD_PAUSES=$$(($(FAULTS) * 20)) \
	AGENTD_DRAINS=$$(($(FAULTS) * 20)) AGENTD_FAULT_DEATHS=$$(($(FAULTS) * 100)) \
	AGENTD_CLOCK_JUMPS=$$(($(FAULTS) * 10)) $(PYTEST) --timeout 0 tests/integration/test_store_kill.py \
	$(addprefix tests/integration/test_daemon_,durability.py syscalls.py pauses.py drain.py deaths.py clocks.py) \
	tests/unit/store/test_store_journal_faults.py $(wildcard tests/properties/test_*_laws.py) \
	tests/properties/test_engine_storms.py

fuzz: $(VENV)/installed-fuzz ## Read millions of changed frames and documents, ask each route thousands of times; FUZZ=100 for more
	@AGENTD_FUZZ_FRAMES=$$(($(FUZZ) * 1000000)) AGENTD_FUZZ_DOCUMENTS=$$(($(FUZZ) * 1000000)) \
	AGENTD_FUZZ_REQUESTS=$$(($(FUZZ) * 500)) AGENTD_FUZZ_EXAMPLES=$$(($(FUZZ) * 10000)) \
	AGENTD_FUZZ_CASES=$$(($(FUZZ) * 100)) $(PYTEST) --timeout 0 \
	tests/integration/test_rest_schemathesis.py tests/integration/test_rest_fuzz.py tests/integration/test_comm_frames_fuzz.py tests/properties/test_wire_laws.py \
	tests/properties/*_fuzz.py

bench: $(VENV)/installed-bench ## Measure, every figure beside its reference; BENCH="--only W1,W2 --rounds 3" for less
	@$(BIN)/python -m benchmarks $(BENCH)

soak: $(VENV)/installed-dev ## Agents under work and faults for an hour, whose memory must not grow; SOAK_S=600 for less
	@AGENTD_SOAK_S=$(SOAK_S) AGENTD_VISITS=100 $(BIN)/python -m pytest -s tests/integration/test_daemon_soak.py \
		tests/integration/test_daemon_visits.py

format: $(VENV)/installed-dev ## Bring the code into the one format, and mend what can be mended by itself
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean: ## Remove all that was made here, the environment too
	@rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment; a stamp says that it has what an extra of pyproject.toml asks for --------------------------

$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	@echo "Installing agentd[$*] into $(VENV): a minute or two, once"
	@$(PIP) install --no-compile --editable '.[$*]'
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "agentd needs Python 3.11 or newer; \
	$(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	echo "$(PYTHON) cannot make an environment; on Debian and Ubuntu install the package python3-venv" >&2; exit 1; }
