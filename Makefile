# Everything that is done with a checkout. Plain `make` lists it.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS :=
JOBS := 3

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean

help:  ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 10

setup: $(STAMP)  ## make .venv with the project and its tools in it

$(STAMP): pyproject.toml fixtures/venv.sh
	@sh fixtures/venv.sh $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@$(BIN)/python -m compileall -q imagekit builders flyte
	@touch $@

demo: setup  ## build an image with real packages, twice, and run it
	@$(BIN)/python examples/demo/run.py $(ARGS)

test: setup  ## run all tests; ARGS="tests/test_image.py -x" for some
	@$(BIN)/python -m pytest -n $(JOBS) --no-loadscope-reorder $(ARGS)

check: setup  ## format, lint, types and import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## measure against BuildKit on this machine
	@$(BIN)/python benchmarks/bench.py $(ARGS)

clean:  ## delete .venv and what tools left in the checkout
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
