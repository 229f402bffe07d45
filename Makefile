# Everything a developer runs; `make` alone lists it. Needs only Python 3.11 or newer.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup environment engine lint format test docs lock clean

RUN := .venv/bin/python
# Options for pytest, e.g. make test PYTEST="-m 'not engine'" or PYTEST=tests/load
PYTEST ?=
# A resolution that holds for every platform and tells nothing of the machine that made it.
COMPILE := $(RUN) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --no-header --no-annotate --no-emit-index-url --no-emit-find-links

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  make %-7s %s\n' "$$name" "$$text"; done

setup: environment engine ## Make .venv with the developers' tools, and the engine's environment

# .venv and what it lacks of requirements-dev.lock, of which a copy is kept as the stamp.
environment:
	@./bench.sh --setup-only
	@cmp -s requirements-dev.lock .venv/.kserve-bench-dev || { \
		echo 'make: installing requirements-dev.lock (log: .cache/setup-dev.log)' >&2; \
		$(RUN) -m pip install --disable-pip-version-check --no-input --progress-bar off \
			--requirement requirements-dev.lock >.cache/setup-dev.log 2>&1 || \
			{ grep '^ERROR' .cache/setup-dev.log >&2; exit 1; }; \
		cp requirements-dev.lock .venv/.kserve-bench-dev; }

engine: environment
	@$(RUN) -c 'from runners.engines.environment import find_engine; \
		from runners.progress import Progress; find_engine(Progress())'

lint: environment ## Check format, style, types, shell scripts and generated files
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy --strict runners tests scripts
	.venv/bin/shellcheck bench.sh .ci/run $(wildcard scripts/*.sh)
	$(RUN) scripts/export_profile_schema.py --check

format: environment ## Format the code and mend what can be mended
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

test: environment engine ## Run every test, those on a real engine included
	$(RUN) -m pytest $(PYTEST)

docs: environment ## Write the generated parts of docs/ again
	$(RUN) scripts/export_profile_schema.py

lock: environment ## Resolve the lock files again from pyproject.toml
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove build output and tool caches (.venv, .cache and runs stay)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find runners tests scripts -name __pycache__ -prune -exec rm -rf {} +
