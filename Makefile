# Two targets are all a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint fix types docs bench clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt libraries.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r libraries.txt
	touch $@

demo: $(STAMP)  ## run the demonstration on the embedded data set and print its leaderboard
	$(BIN)/harness run digits-demo

test: $(STAMP) lint types  ## everything that CI checks; a file's tests stay in one process, whose costly fixtures they share
	$(BIN)/python -m pytest -n auto --dist loadfile --benchmark-disable

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/mypy

docs: $(STAMP)  ## rewrite the parts of the documentation that are generated from the code
	$(BIN)/python docs/generate.py

# The tables are written of what there is where a benchmark fails, and the target fails all the same.
bench: $(STAMP)  ## time every installed attack, and the harness against its peers; ratios within one run
	$(BIN)/python -m pytest tests/benchmarks -o python_files='bench_*.py' -o timeout=0 --benchmark-group-by=group --benchmark-columns=median,rounds --benchmark-json=results/timing.json; benched=$$?; \
	$(BIN)/harness leaderboard --timing results/timing.json && \
	$(BIN)/python tests/benchmarks/performance_table.py results/timing.json && \
	$(BIN)/python tests/benchmarks/growth_plots.py results/timing.json && \
	exit $$benched

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
