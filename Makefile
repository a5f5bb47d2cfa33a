# Everything here works from a fresh clone: the first target that needs it makes `.venv`.
# Another interpreter: make PYTHON=/path/to/python3.12 test

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
# Another MPI than the environment's, so that the tests see both; it needs a place of its own.
MPICH = $(VENV)/mpich

# The program and the tests are parallel by processes; threads inside them only get in the way.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# The tests in parts that take about as long as each other, or half of that.
PARTS = test-runs test-programs test-stages test-modules
RUNS = $(patsubst %, tests/test_%.py, run trouble mpi workers examples)
STAGES = tests/methods/ tests/stages/

.PHONY: help setup demo test $(PARTS) check format bench golden clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup: $(INSTALLED) $(MPICH) ## make .venv and install everything into it
	@echo "$(VENV) is ready"

$(INSTALLED): setup.cfg pyproject.toml requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: '$(PYTHON)' was not found: install Python 3.11 or newer, or name one with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) -V 2>&1): name a newer one with PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: '$(PYTHON)' cannot make virtual environments: install its venv module (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { echo "Making $(VENV) with $$($(PYTHON) -V)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --upgrade pip && $(BIN)/python -m pip install -qq -r requirements.txt || { echo "make: installation failed, see above; it needs a package index over the network" >&2; exit 1; }
	@echo "Compiling loops (a minute)"
	@$(BIN)/python tools/compile_loops.py || echo "make: compiling failed, see above; the first runs will do it" >&2
	@touch $(INSTALLED)

$(MPICH): $(INSTALLED)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --prefix $(MPICH) 'mpich >=5.0' || echo "make: MPICH is not to be had here: its tests are skipped" >&2
	@if [ -d $(MPICH) ]; then touch $(MPICH); fi

demo: $(INSTALLED) ## simulate a small sector and make its light curves (a minute or two)
	@$(BIN)/python tools/demo.py --workers 2 demo

test: check $(MPICH) ## check, then every test
	@echo "Four parts of the tests, two at a time; each prints what it found when it is done"
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target $(PARTS)

test-runs: $(MPICH) ## tests of runs that are disturbed, on processes and under MPI
	@$(BIN)/python -m pytest -m "" $(RUNS)

test-programs: $(MPICH) ## tests of whole programs apart from these
	@$(BIN)/python -m pytest -m "" $(filter-out $(RUNS), $(wildcard tests/test_*.py))

test-stages: $(MPICH) ## tests of stages and methods
	@$(BIN)/python -m pytest -m "" $(STAGES)

test-modules: $(MPICH) ## tests of what they are made of
	@$(BIN)/python -m pytest -m "" $(filter-out $(STAGES), $(wildcard tests/*/))

check: $(INSTALLED) ## style and layers
	@command -v git >/dev/null || { echo "make: 'git' was not found: the checks ask it which files are tracked; install git" >&2; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/lint-imports

format: $(INSTALLED) ## mend what ruff can mend
	$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## run the benchmarks (figures: benchmarks/RESULTS.md)
	@for script in benchmarks/bench_*.py; do echo "$$script"; $(BIN)/python $$script || exit 1; done

golden: $(INSTALLED) ## make tests/input anew (the change shows in review)
	$(BIN)/python tests/make_golden.py

clean: ## remove everything made here, the environment too
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
