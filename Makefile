# Two commands for a newcomer: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
unexport PYTHONDONTWRITEBYTECODE  # pip compiles nothing here: Python keeps what it compiles when it is first imported
JOBS ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")

.PHONY: demo test lint format bench docs clean
.DEFAULT_GOAL := demo

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --editable ".[dev]"
	touch $@

demo: $(VENV)/.installed ## discover a proxy on the embedded benchmark and draw the report
	rm -rf runs/demo
	$(BIN)/autogas discover --benchmark mini-autoencoder --out runs/demo --jobs $(JOBS)

test: lint ## everything that must hold before a change lands
	$(BIN)/pytest -q -n $(JOBS)

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed ## measure the engine and the scorers against a bare forward pass
	$(BIN)/python perf/engine.py
	$(BIN)/python perf/scorers.py

docs: $(VENV)/.installed ## build the site in site/, and run every command that its pages show
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[docs]"
	$(BIN)/mkdocs build --strict
	$(BIN)/pytest -q -n $(JOBS) -m pages

clean:
	rm -rf $(VENV) site runs/demo .mypy_cache .ruff_cache .pytest_cache
