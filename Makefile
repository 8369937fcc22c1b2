# Everything starts from nothing but Python ≥3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv from the PATH, else one that pip installs into a corner of the checkout.
UV := $(shell command -v uv 2>/dev/null || echo .venv-uv/bin/uv)
LIBS := libs/behest-base libs/langchain-behest libs/llamaindex-behest
WORKERS ?= 2
LOCK = $(UV) pip compile --quiet $(if $(UPGRADE),--upgrade) --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"$(PYTHON) is Python %d.%d, and 3.11 or later is needed: make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version_info[:2])'

.PHONY: help demo test test-main test-openai test-openai3 coverage bench lint format lock build clean

help:  ## Show what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

demo: $(VENV)/.ready  ## Run a conversation through all three distributions (the emulator, or BEHEST_KEY)
	@$(BIN)/python cookbook/quickstart.py

test: test-main test-openai test-openai3  ## Pass all tests

# The adapters need no OpenAI SDK: imports of it are refused.
test-main: $(VENV)/.ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q --openai refused

# The SDK on our clients, and the peers that stand on it.
test-openai: $(VENV)/.ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -q --openai needed

# The same clients with the next major of the OpenAI SDK, in an environment of its own.
test-openai3: .venv-openai3/.ready
	.venv-openai3/bin/python -m pytest -q tests/base/test_openai_clients.py

coverage: $(VENV)/.ready  ## Show the branch coverage of behest_base
	$(BIN)/python -m pytest -n $(WORKERS) -q tests/base tests/emulator --cov --cov-report=term

bench: $(VENV)/.ready  ## Measure against the peers, in ratios
	@for bench in tests/benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

lint: $(VENV)/.ready  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/basedpyright

format: $(VENV)/.ready  ## Format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(UV)  ## Make the pinned, hashed requirements anew; pins that fit stay, but for UPGRADE=1
	$(LOCK) --group dev --all-extras $(LIBS:%=%/pyproject.toml) \
		$(foreach name,behest-base langchain-behest llamaindex-behest,--no-emit-package $(name)) \
		-o requirements-dev.txt
	$(LOCK) --group openai3 --all-extras libs/behest-base/pyproject.toml -o requirements-openai3.txt

build: $(VENV)/.ready  ## Build wheels and sdists into dist/
	for lib in $(LIBS); do $(BIN)/python -m build --no-isolation --outdir dist $$lib || exit 1; done

clean:  ## Remove what the set-up made
	rm -rf .venv .venv-openai3 .venv-uv dist

.venv-uv/bin/uv:
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .venv-uv
	.venv-uv/bin/python -m pip install --quiet --disable-pip-version-check uv

# Compiled here, every later start takes half as long, also where Python is told to write no bytecode.
$(VENV)/.ready: requirements-dev.txt $(LIBS:%=%/pyproject.toml) | $(UV)
	@$(CHECK_PYTHON)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	$(UV) pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements-dev.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(LIBS:%=-e %)
	@touch $@

.venv-openai3/.ready: requirements-openai3.txt libs/behest-base/pyproject.toml | $(UV)
	@$(CHECK_PYTHON)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-openai3
	$(UV) pip sync --quiet --python .venv-openai3/bin/python --require-hashes requirements-openai3.txt
	$(UV) pip install --quiet --python .venv-openai3/bin/python --no-deps --no-build-isolation -e libs/behest-base
	@touch $@
