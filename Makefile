# `make` is what CI runs: check + test + test-pythons. `make run` tries the gateway, `make tour` the library.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := -n 2 --dist worksteal
IS_LIVE := $(if $(filter-out 0 no false,$(LIVE)),--live)
INPUTS := requirements/dev.txt pyproject.toml tools/venv.sh

# A process that may not keep its bytecode compiles everything anew: tests start many.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: all install run tour check test test-pythons bench bench-peers pins clean
all: check test test-pythons

install: .venv/.installed
.venv/.installed: $(INPUTS)
	@echo "setting up .venv (a minute, once)"
	@sh tools/venv.sh $(PYTHON) .venv

# A gateway on this machine, and commands to paste. ARGS="--port 8000". LIVE=1: with the real API.
run: install
	@$(BIN)/outlay demo $(IS_LIVE) $(ARGS)

# The library, step by step. LIVE=1: with the real API.
tour: install
	@$(BIN)/python examples/tour.py $(IS_LIVE)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every test, once.
test: install
	$(BIN)/pytest $(PYTEST)

# On each other supported Python that is installed, what can differ there: all but the tests marked `once`, each
# with its reason.
test-pythons: install
	@for python in $$($(BIN)/python tools/pythons.py); do \
		venv=.venv-$$(basename $$python); \
		if [ ! -f $$venv/.installed ] || [ requirements/dev.txt -nt $$venv/.installed ]; then \
			sh tools/venv.sh $$python $$venv || exit 1; \
		fi; \
		echo "$$python"; $$venv/bin/pytest $(PYTEST) -m "not once" || exit 1; \
	done

# How fast it is, beside what the machine could do. ARGS=--quick, --json, --markdown, or names: ARGS="ledger importing".
bench: install
	@$(BIN)/python -m bench $(ARGS)

# The same beside LiteLLM, from an environment of its own. ARGS=--update writes docs/benchmarks.md anew.
bench-peers: install .venv-peers/.installed
	@$(BIN)/python -m bench --peers .venv-peers/bin/python $(ARGS)

.venv-peers/.installed: requirements/peers.txt
	@echo "setting up .venv-peers (a minute, once)"
	@$(PYTHON) -m venv .venv-peers
	@.venv-peers/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements/peers.txt
	@touch $@

# Pin the newest versions of what requirements/*.in name.
pins: install
	cd requirements && for name in base server dev peers; do ../$(BIN)/pip-compile --quiet --upgrade --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --strip-extras --allow-unsafe \
		$$name.in --output-file $$name.txt; done

clean:
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis
