# `make` says what there is to make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# `make bench BENCH=` runs the benchmarks in full.
BENCH ?= --quick

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint test-slow test-gpu test-java test-llm bench docs-check base clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## a virtual environment in .venv with the tested versions

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("capwright needs Python 3.10 or newer; try: make PYTHON=python3.11") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)  ## train the built-in captioner on the built-in kindergarten: runs/demo/report.html
	$(BIN)/capwright demo --out runs/demo

test: lint  ## everything CI runs: lint, types, tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

lint: $(READY)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-slow: $(READY)  ## tests of more than half a minute
	$(BIN)/python -m pytest -m slow || [ $$? -eq 5 ]

test-gpu: $(READY)  ## tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu || [ $$? -eq 5 ]

test-java: $(READY)  ## tests of METEOR and the Java tokenizer; installs their jars, needs a Java runtime
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,java]'
	$(BIN)/python -m pytest -m java

test-llm: $(READY)  ## tests of judges against a real small model; fetches it (93 MB) and, where there is none, builds llama-server
	$(BIN)/python tests/helpers/llama_server.py
	$(BIN)/python -m pytest -m llm -rs || [ $$? -eq 5 ]

bench: $(READY)  ## benchmarks, the quick variants; in full: make bench BENCH=
	@mkdir -p runs/bench
	@set -e; for script in $(filter-out benchmarks/results_file.py,$(wildcard benchmarks/*.py)); do \
		echo "== $$script $(BENCH)"; \
		$(BIN)/python $$script $(BENCH) --json runs/bench/$$(basename $$script .py).json; \
	done

docs-check: $(READY)  ## what the docs name exists, tables of scorers are theirs, figures those of benchmarks/results
	$(BIN)/python docs/write_recipes_page.py --check
	$(BIN)/python docs/write_tables.py --check
	$(BIN)/python docs/write_figures.py --check
	$(BIN)/python -m pytest tests/test_docs.py tests/test_readme.py tests/cli/test_docs.py

base: $(READY)  ## train the embedded captioner again and put it into the package (about 40 minutes)
	rm -rf runs/base
	$(BIN)/capwright scenes build --n 16000 --seed 1000 --processes 2 --out runs/base/scenes
	$(BIN)/python -m capwright.scenes.captioner new runs/base/untrained --scenes runs/base/scenes
	$(BIN)/capwright train base-scenes --out runs/base/run
	$(BIN)/python -m capwright.scenes.captioner pack runs/base/run/checkpoints/polish

clean:  ## remove the environment and caches; runs stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
