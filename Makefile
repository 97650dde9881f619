# Every thing a contributor does is a target here; .ci/run calls the same ones.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: help setup demo serve test test-unit check format bench clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready   ## the virtual environment with everything in it

$(VENV)/.ready: pyproject.toml
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing (once; about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]' --group dev
	@touch $@

clean:           ## remove what the targets made, except downloaded weights
	rm -rf $(VENV) .sdk build dist .pytest_cache .mypy_cache .ruff_cache

demo: setup      ## serve the starter model and ask it through the official client
	@$(BIN)/antiphon demo

serve: setup     ## serve the starter model on loopback
	@$(BIN)/antiphon serve

test: setup      ## everything; the official clients and the real models included
	$(BIN)/python -m pytest

test-unit: setup ## what needs no process, no client and no model
	$(BIN)/python -m pytest tests/unit tests/contract

check: setup     ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup    ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup     ## every figure of docs/performance.md, in about ten minutes
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.embedded
