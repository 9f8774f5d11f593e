# Every target installs what it needs first, into .venv, from the index that pip on this host is configured with.
#   make demo [SMOKE=1] [DEMO_ARGS='...']   search, retrain and compare on made data, with pictures
#   make test [TEST_ARGS='...']             the tests, with the 20 slowest
#   make lint                               ruff
#   make docs                               the pages of docs/ as HTML, in build/docs (Python 3.11 or newer)
#   make install                            only the environment
# PYTHON=... chooses the interpreter (3.10 to 3.12) that .venv is made with; WORKERS=... the test processes.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
PIP     := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 2

.PHONY: demo test lint docs install
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/python tools/demo.py $(if $(SMOKE),--smoke) $(DEMO_ARGS)

# One torch thread per process: two processes with two threads each are six times slower on two cores.
# A test file stays in one process, so that what it sets up once is set up once; in the order of the folders, because
# the longest files would come last otherwise. No test at all (exit 5) is a failure.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=20 $(TEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(BIN)/sphinx-build
	$(BIN)/sphinx-build -q -W --keep-going docs build/docs
	@echo 'build/docs/index.html'

$(BIN)/sphinx-build: requirements/docs.txt $(STAMP)
	$(PIP) install -q -c requirements/constraints.txt -r $<
	@touch $@

install: $(STAMP)

# A name may be there and yet not run (the shims of version managers), so each candidate is tried.
$(BIN)/python:
	@for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.10); do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
	      >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$($$python -V)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo 'make: found no Python 3.10, 3.11 or 3.12 with venv$(if $(PYTHON), under PYTHON=$(PYTHON));' \
	  'name one: make PYTHON=/path/to/python' >&2; exit 1

# setuptools goes first: packages without a wheel are built with it, and mmengine needs its pkg_resources.
# A full mmcv that is there already is left alone (requirements/runtime.txt says why).
$(STAMP): $(wildcard requirements/*.txt) setup.py pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV), about 2 minutes'
	$(PIP) install -q 'setuptools<81' wheel
	$(PIP) install -q -c requirements/constraints.txt -r requirements/runtime.txt -r requirements/tests.txt \
	  -r requirements/export.txt $$($(PIP) show -q mmcv >/dev/null 2>&1 || echo -r requirements/lite.txt)
	$(PIP) install -q --no-build-isolation --no-deps -e .
	@touch $@
