# Everything a developer runs; `make` alone lists it. Needs only Python 3.11 or newer.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup environment engine lint format test agreement bench bench-peers bench-stats docs lock clean

RUN := .venv/bin/python
# Options for pytest, e.g. make test PYTEST="-m 'not engine'" or PYTEST=tests/load
PYTEST ?=
# Options for bench/instrument.py, e.g. make bench BENCH=--quick
BENCH ?=
PEERS := guidellm==0.8.1 aiperf==0.13.0
# A resolution that holds for every platform and tells nothing of the machine that made it.
COMPILE := $(RUN) -m uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --no-header --no-annotate --no-emit-index-url --no-emit-find-links

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

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
	$(RUN) -m mypy --strict runners tests scripts bench
	.venv/bin/shellcheck bench.sh .ci/run $(wildcard scripts/*.sh)
	$(RUN) scripts/export_docs.py --check

format: environment ## Format the code and mend what can be mended
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

test: environment engine ## Run every test, those on a real engine included
	$(RUN) -m pytest $(PYTEST)

agreement: environment engine ## Put the validator's cases to a real vLLM and compare (5 minutes)
	$(RUN) -m bench.agreement

bench: environment engine ## Measure the instrument itself, its peers beside it (an hour)
	$(RUN) bench/instrument.py $(BENCH)

bench-peers: environment ## Install guidellm and aiperf for `make bench` (8 GB)
	@for peer in $(PEERS); do \
		home=.cache/bench-peers/$${peer%%=*}; \
		echo "make: installing $$peer into $$home (log: $$home.log)" >&2; \
		mkdir -p .cache/bench-peers; \
		{ $(RUN) -m venv $$home && $$home/bin/python -m pip install --no-input \
			--disable-pip-version-check --progress-bar off $$peer; } >$$home.log 2>&1 || \
			{ tail -n 1 $$home.log >&2; exit 1; }; \
	done

bench-stats: environment ## Show how often the intervals of results.json hold the truth
	$(RUN) bench/statistics_coverage.py $(STATS)
	$(RUN) bench/comparison_errors.py $(STATS)

docs: environment ## Write the generated parts of docs/ again
	$(RUN) scripts/export_docs.py

lock: environment ## Resolve the lock files again from pyproject.toml
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --upgrade --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean: ## Remove build output and tool caches (.venv, .cache and runs stay)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find runners tests scripts bench -name __pycache__ -prune -exec rm -rf {} +
