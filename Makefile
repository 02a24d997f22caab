# One verb per chore; `make help` lists them. CI calls the same targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Without bytecode each of the many processes that tests start compiles all it imports, for a second or two.
unexport PYTHONDONTWRITEBYTECODE
.SHELLFLAGS := -euo pipefail -c

# Any Python from 3.11 to 3.13 makes the environment: make setup PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.setup-stamp
PIP := $(PY) -m pip install -qq --disable-pip-version-check --no-deps
UV := $(VENV)/bin/uv pip install -q --python $(PY) --no-deps
# How many processes share the tests; more than two cores, since many tests wait for a fence.
WORKERS ?= 4
# Lives and deaths of a connector in test-kills.
KILL_SEQUENCES ?= 500
# Processes killed in kill-test.
KILLS ?= 1000
# Lives beside test, as far as they fit into so many seconds: the whole is to stay under five minutes on two cores.
LIVES ?= 2000
LIVES_WITHIN ?= 265
# Lives of sim and of each planted bug of sim-plants; crash points of sim-crashes.
SEEDS ?= 2000
CRASHES ?= 20000
# Both understand docker-compose.yml: the current plugin, and docker-compose 1.29.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# Of e2e: default, scale or paper. Folder of certs.
PROFILE ?= default
OUT ?= secrets
# Recorded market data for the demo, for example: make demo DATA=../shared/data
DATA ?=

TYPED := services cli scripts tests benchmarks simulation
TEST_FOLDERS = $(wildcard tests/unit tests/contract tests/integration tests/simulation)
PYTEST = $(PY) -m pytest -n $(WORKERS) --dist loadfile -m "not system"

.PHONY: help
help: ## List the chores
	@awk -F ':.*## ' '/^##@ /{printf "%s:\n", substr($$0, 5)} /^[a-z0-9-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it

.PHONY: demo
demo: $(STAMP) ## Scan, enter, hold and exit on a simulated exchange; DATA=DIR for recorded histories
	@$(PY) -m cli.demo $(if $(DATA),--data "$(DATA)")

.PHONY: up
up: ## Build and start the stack of containers, without keys or an account; `arb doctor` in it tells when all is up
	@$(COMPOSE) up -d --build
	@$(COMPOSE) ps

.PHONY: down
down: ## Stop the stack of containers; ledgers and journal stay
	@$(COMPOSE) down

.PHONY: client
client: ## Bring the operator's certificate, tokens and arb.toml of the running stack to var/client
	@mkdir -p -m 700 var/client
	@$(COMPOSE) run --rm -T secrets export /secrets | tar -x -C var/client
	@echo "client: cd var/client && ../../.venv/bin/arb doctor"

.PHONY: certs
certs: $(STAMP) ## A CA, certificates and tokens of one's own: make certs OUT=secrets
	@$(PY) -m scripts.stack_secrets make $(OUT)
	@chown -R 10001:10001 $(OUT) 2>/dev/null || echo "certs: sudo chown -R 10001:10001 $(OUT), the user of the containers"
	@echo "certs: OPENSQT_SECRETS=$(abspath $(OUT))/ $(COMPOSE) up -d"

##@ Check it

.PHONY: test
test: $(STAMP) ## All tests that need Python packages alone, LIVES=N (2000) simulated lives beside them
	@$(PYTEST) --lives $(LIVES) --lives-within $(LIVES_WITHIN) $(TEST_FOLDERS)

.PHONY: coverage
coverage: $(STAMP) ## The same tests, with branch coverage
	@$(PYTEST) --cov --cov-report=term:skip-covered $(TEST_FOLDERS)

.PHONY: lint
lint: $(STAMP) ## ruff, its layout, and the arrows between the parts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/lint-imports --no-cache

.PHONY: typecheck
typecheck: $(STAMP) ## mypy, strict
	@$(PY) -m mypy $(TYPED)

.PHONY: figures
figures: $(STAMP) ## Measure the code against its style targets
	@$(PY) -m scripts.style_figures

.PHONY: proto-check
proto-check: $(STAMP) ## Fail on stale generated code, lint findings or a breaking change
	@$(PY) -m scripts.protos check

.PHONY: dashboards-check
dashboards-check: $(STAMP) ## Fail on a dashboard that is stale or not of Grafana's schema
	@$(PY) -m scripts.dashboards check

.PHONY: reference-check
reference-check: $(STAMP) ## Fail where such a page is not what the code says
	@$(PY) -m scripts.settings_reference check
	@$(PY) -m scripts.api_reference check
	@$(PY) -m scripts.metrics_reference check

.PHONY: licences
licences: $(STAMP) ## Fail on a package whose licence is not on the list of pyproject.toml
	@$(PY) -m scripts.licences

.PHONY: sbom
sbom: $(STAMP) ## Write build/sbom.cdx.json: every package, its licence, the images it is in
	@$(PY) -m scripts.sbom

.PHONY: audit
audit: $(STAMP) ## Fail on a package with a known hole, where the index tells of such
	@$(PY) -m scripts.audit

##@ Check it for longer

.PHONY: docs-test
docs-test: $(STAMP) ## Run the commands of the pages against a stack on this machine
	@$(PY) -m pytest -q -m system tests/docs

.PHONY: test-faults
test-faults: $(STAMP) ## The fault table: each fault on each family of venues, printed as a table
	@$(PYTEST) tests/faults

.PHONY: test-scanner-faults
test-scanner-faults: $(STAMP) ## The scanner with venues down, damaged rows, bans, kills, clock jumps
	@$(PYTEST) tests/scanner_faults

.PHONY: test-pairs
test-pairs: $(STAMP) ## Pairs of venues in and out with partial fills, by the venues' books; a table
	@$(PYTEST) tests/pairs

.PHONY: test-auto
test-auto: $(STAMP) ## Days without an operator: entries, funding, exits, deaths, every decision made again
	@$(PYTEST) tests/unattended

.PHONY: test-paper
test-paper: $(STAMP) ## Paper trading: a venue on loopback, its mirror, connectors and the whole system on that
	@$(PYTEST) tests/paper

.PHONY: test-traces
test-traces: $(STAMP) ## Entries and exits of the whole system as traces, at an OTLP receiver
	@$(PY) -m pytest -q tests/traces

.PHONY: test-kills
test-kills: $(STAMP) ## SIGKILL at random and at chosen moments; KILL_SEQUENCES=N (500) random ones
	@KILL_SEQUENCES=$(KILL_SEQUENCES) $(PYTEST) -n 4 --dist load tests/kills/test_random_kills.py
	@$(PYTEST) --ignore=tests/kills/test_random_kills.py tests/kills

.PHONY: kill-test
kill-test: $(STAMP) ## KILLS=N (1000) SIGKILLs over engine and connectors while they enter and exit
	@$(PY) -m tests.kills --kills $(KILLS)

.PHONY: test-wire
test-wire: $(STAMP) ## A hundred thousand malformed requests, ten thousand hanging calls; minutes
	@$(PY) -m pytest -q tests/wire

.PHONY: test-system
test-system: $(STAMP) ## Tests that need Debian packages or root; PAIR_ROUNDS=N (3) random takeovers
	@command -v nats-server >/dev/null || test -x /usr/sbin/nats-server || scripts/install_system_packages nats-server
	@test -d /usr/lib/postgresql || scripts/install_system_packages postgresql
	@command -v chromium >/dev/null || scripts/install_system_packages chromium fonts-dejavu-core
	@command -v prometheus >/dev/null || scripts/install_system_packages prometheus
	@command -v amtool >/dev/null || scripts/install_system_packages prometheus-alertmanager
	@$(PY) -m pytest -m system --ignore-glob='*/test_engine_faults_*' tests/system

.PHONY: test-engine-faults
test-engine-faults: $(STAMP) ## Partitions, pauses, clock jumps, floods, full disks, flipped bits under the engine; as root
	@command -v cc >/dev/null || scripts/install_system_packages gcc libc6-dev
	@command -v ip >/dev/null || scripts/install_system_packages iproute2
	@scripts/own_network $(PY) -m pytest -n 2 --dist loadfile -m system tests/system/test_engine_faults_*.py

.PHONY: e2e
e2e: $(STAMP) ## The stack in containers: a trade, then kills, cuts and pauses; PROFILE=scale for pairs, PROFILE=paper
	@E2E_PROFILE=$(PROFILE) $(PY) -m pytest -q -m system tests/e2e/test_compose_$(PROFILE).py

.PHONY: images-compare
images-compare: ## Build every image twice from nothing and name each difference
	@python3 -m scripts.images_compare $(if $(BUILD_NETWORK),--network $(BUILD_NETWORK))

.PHONY: sim
sim: $(STAMP) ## SEEDS=N (2000) seeded lives of engine and connectors in virtual time, with faults
	@$(PY) -m simulation --seeds $(SEEDS)

.PHONY: sim-plants
sim-plants: $(STAMP) ## Planted bugs, each to be found within SEEDS=N (2000) lives; printed as a table
	@$(PY) -m simulation --plants --seeds $(SEEDS)

.PHONY: sim-crashes
sim-crashes: $(STAMP) ## A crash at every step of six lifecycles, at most CRASHES=N (20000)
	@$(PY) -m simulation --crashes $(CRASHES)

##@ Measure it

.PHONY: bench
bench: bench-connector bench-scanner bench-engine ## All measurements

.PHONY: bench-connector
bench-connector: $(STAMP) ## An order against its floor, start, memory and pauses: about three minutes
	@$(PY) -m benchmarks.bench_connector

.PHONY: bench-scanner
bench-scanner: $(STAMP) ## Scans cold and warm against their floor, up to 1,000 symbols on three venues
	@$(PY) -m benchmarks.bench_scanner

.PHONY: bench-engine
bench-engine: $(STAMP) ## A hedge and an exit against bare calls, close-all, journal, recovery: four minutes
	@$(PY) -m benchmarks.bench_engine

##@ Write what is made from other files

.PHONY: format
format: $(STAMP) ## Put imports and layout in order
	@$(VENV)/bin/ruff check -q --fix --exit-zero .
	@$(VENV)/bin/ruff format -q .

.PHONY: lock
lock: $(STAMP) ## Write requirements.lock anew from pyproject.toml
	@$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --all-extras --group dev --group docs --group supply \
	  --generate-hashes --no-emit-index-url --no-emit-package opensqt-protos --no-header --no-annotate \
	  --upgrade -o requirements.lock pyproject.toml

.PHONY: proto
proto: $(STAMP) ## Generate the package opensqt from the .proto files
	@$(PY) -m scripts.protos generate

.PHONY: reference
reference: $(STAMP) ## Write the pages that come from code: configuration, API, metrics
	@$(PY) -m scripts.settings_reference generate
	@$(PY) -m scripts.api_reference generate
	@$(PY) -m scripts.metrics_reference generate

.PHONY: dashboards
dashboards: $(STAMP) ## Write Grafana's dashboards from their plans
	@$(PY) -m scripts.dashboards write

.PHONY: docs
docs: $(STAMP) ## Build docs/ as a site in build/site; a dead link fails
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict

.PHONY: image-packages
image-packages: $(STAMP) ## Write deploy/packages.toml, what each image installs
	@$(PY) -m scripts.image_packages generate

##@ Prepare and clean up

.PHONY: setup
setup: $(STAMP) ## Make .venv with the locked packages and both distributions

$(STAMP): requirements.lock pyproject.toml proto/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "setup: $(PYTHON) is $$($(PYTHON) -V 2>&1); name one from 3.11 to 3.13: make setup PYTHON=python3.12" >&2; exit 1; }
	@# An attempt without ensurepip leaves an environment that has no pip.
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || \
	  { echo "setup: $(PYTHON) cannot make an environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "setup: installing the locked packages, once; this takes some seconds to two minutes"
	@# uv needs a tenth of the time; pip does it where uv cannot reach the index that pip is set up for.
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >$(VENV)/uv.txt
	@$(PIP) --require-hashes -r $(VENV)/uv.txt
	@$(UV) --require-hashes -r requirements.lock 2>$(VENV)/uv.log || $(PIP) --no-compile --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e ./proto -e .
	@touch $@

.PHONY: clean
clean: ## Remove caches and reports, keep .venv
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov build dist
