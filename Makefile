# The two commands are `make demo` and `make test`; CI runs `make check test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A second busy process makes spinning OpenMP threads several times slower than sleeping ones.
export OMP_WAIT_POLICY := PASSIVE
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup demo check test bench zoo node proto serve clean

help:
	@echo "make demo    set up, start a test camera whose truth is known and the service, ask ten questions"
	@echo "make test    set up, run the tests"
	@echo "make check   formatting, lint, types, import rules, generated code"
	@echo "make bench   measure; writes benchmarks/results/*.json"
	@echo "make zoo     measure every strategy of reduction; writes docs/zoo.md, figures and plots"
	@echo "make node    use the service from Node, from the .proto files alone"
	@echo "make serve   run the service with configs/embedded.yaml"
	@echo "make proto   regenerate streamvlm/wire from proto/"
	@echo "make clean   remove what the other targets made"

setup: $(VENV)/.installed

# torch first and pinned: a loose requirement resolves to a CUDA build of several gigabytes.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
		{ echo "streamvlm needs Python 3.11 or 3.12; run: make PYTHON=python3.11 setup"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "the venv module is missing; run: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[cpu,dev]'
	touch $@

demo: setup
	$(BIN)/python -m streamvlm.evaluate.demo

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m services.stubs --check

# What only computes is run by two processes; what waits for cameras, brokers and clocks by one.
COMPUTING := $(addprefix tests/,encode reduce remember respond training vlm watch when wire) \
	$(addprefix tests/evaluate/,reduction suites world) \
	$(patsubst %,tests/evaluate/test_%.py,alarms held items methods mini mini_suite old_pictures report runner) \
	$(patsubst %,tests/test_%.py,adding_a_strategy determinism erase gaps invariants long_streams looks period \
	pipeline searches streaming_equals_offline ways_to_attend zoo_bench zoo_page)

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 $(COMPUTING)
	$(BIN)/pytest $(COMPUTING:%=--ignore=%)

bench: setup
	$(BIN)/python benchmarks/spine.py
	$(BIN)/python benchmarks/reconnect.py
	$(BIN)/python benchmarks/soak.py

# About an hour on two cores; figures of a GPU: benchmarks/reduce.py there.
zoo: setup
	$(BIN)/python benchmarks/zoo.py --processes 2
	$(BIN)/python benchmarks/reduce.py --device cpu
	$(BIN)/python benchmarks/zoo_page.py

# Another language, from proto/ alone; needs nodejs and npm.
node: setup
	$(BIN)/python tests/node/run.py

serve: setup
	$(BIN)/streamvlm serve --config configs/embedded.yaml

proto: setup
	$(BIN)/python -m services.stubs

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
