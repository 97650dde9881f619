# Every thing a contributor does is a target here; .ci/run calls the same ones.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

.PHONY: help setup demo serve test test-unit check format bench bench-media torture eval-research cluster clean

help:            ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

setup: $(VENV)/.ready   ## the virtual environment with everything in it

$(VENV)/.python:
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.demo: pyproject.toml | $(VENV)/.python
	@echo "installing the server and the official client (once; half a minute)"
	@$(PIP) --editable '.[local]' --group client
	@touch $@

$(VENV)/.ready: pyproject.toml | $(VENV)/.python
	@echo "installing everything (once; two minutes)"
	@$(PIP) --editable '.[local,tools,media,ddgs,machines]' --group dev
	@touch $(VENV)/.demo $@

clean:           ## remove what the targets made, except downloaded weights
	rm -rf $(VENV) .sdk build dist .pytest_cache .mypy_cache .ruff_cache

demo: $(VENV)/.demo   ## serve the starter model and ask it through the official client
	@$(BIN)/antiphon demo

serve: $(VENV)/.demo  ## serve the starter model on loopback
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

bench-media: setup  ## how well documents, pictures and speech are read and spoken, and decisions calibrated (an hour)
	$(BIN)/python -m bench.documents --write
	$(BIN)/python -m bench.speech --write
	$(BIN)/python -m bench.hearing --write

torture: setup   ## the torture suite over a cluster, half an hour
	$(BIN)/python -m torture --topology cluster --minutes 30

eval-research: setup  ## Deep Research beside plain ways, on questions over a corpus of documentation (hours)
	$(BIN)/python -m bench.research

cluster: setup   ## a cluster on this machine, and a demo of what it survives
	$(BIN)/python -m cluster
