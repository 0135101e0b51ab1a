# From a fresh clone, with Python 3.11 or newer, git and make: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
INSTALLED := $(VENV)/.simhw-installed
INSTALLED_DEV := $(VENV)/.simhw-installed-dev

DEMO := out/demo
TRACE := lenet_digits
MACHINES := eyeriss eyeriss_256 snapea
# the reuse array runs the same network with its weights on lines
ON_LINES := --fit 'conv*=linear:5' --fit 'fc*=linear:4' --fit fc3=exact
RESULTS := $(MACHINES:%=$(DEMO)/%.json) $(DEMO)/tolba.json
# one table of prices for all, so that their energies can be compared
PRICES := tetris_45nm
KINDS := cycles energy operations utilization roofline timeline
WORKERS := 2

.PHONY: help demo test test-all lint types bench clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      the machines on one network: a table, plots and a page in $(DEMO)"
	@echo "make test      the tests that take minutes at most"
	@echo "make test-all  what make test leaves out: long tests, style, types"
	@echo "make bench     how fast this computer simulates"
	@echo "make clean     remove what was made, the environment too"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "simhw wants Python 3.11 or newer, and $(PYTHON) is none; make PYTHON=python3.12 names another" >&2; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	@echo "installing simhw into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(INSTALLED_DEV): pyproject.toml | $(BIN)/python
	@echo "installing simhw and its tests' tools into $(VENV)"
	@$(PIP) -e '.[dev]'
	@touch $(INSTALLED) $@

demo: $(INSTALLED)
	@mkdir -p $(DEMO)
	@for machine in $(MACHINES); do \
		echo; $(BIN)/simhw run $$machine $(TRACE) --technology $(PRICES) \
			--timeline $(DEMO)/$$machine.timeline.json -o $(DEMO)/$$machine.json || exit; \
	done
	@echo; $(BIN)/simhw trace $(TRACE) --images 8 $(ON_LINES) -o $(DEMO)/on_lines.safetensors > /dev/null
	@echo; $(BIN)/simhw run tolba $(DEMO)/on_lines.safetensors --technology $(PRICES) \
		--timeline $(DEMO)/tolba.timeline.json -o $(DEMO)/tolba.json
	@echo
	@$(BIN)/simhw compare $(RESULTS) -o $(DEMO)/comparison.csv > $(DEMO)/comparison.txt
	@echo; cat $(DEMO)/comparison.txt; echo
	@for kind in $(KINDS); do \
		$(BIN)/simhw plot $(RESULTS) --kind $$kind -o $(DEMO)/$$kind.png || exit; \
	done
	@$(BIN)/simhw report $(RESULTS) -o $(DEMO)/report.html
	@echo
	@echo "In $(CURDIR)/$(DEMO):"
	@echo "  report.html            open it in a browser; all of the below on one page"
	@echo "  comparison.txt, .csv   the table above"
	@echo "  *.png                  $(KINDS)"
	@echo "  *.timeline.json        drop one on https://ui.perfetto.dev"
	@echo "  on_lines.safetensors   the network with its weights on lines, for the reuse array"
	@echo "  *.json                 the results; simhw compare, plot and report read them"

test: $(INSTALLED_DEV)
	@$(BIN)/python -m pytest -n $(WORKERS)

test-all: lint types
	@$(BIN)/python -m pytest -m long -n $(WORKERS)

lint: $(INSTALLED_DEV)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(INSTALLED_DEV)
	@$(BIN)/pyright

bench: $(INSTALLED)
	@$(BIN)/simhw bench

clean:
	rm -rf $(VENV) out build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
