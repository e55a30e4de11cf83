# make demo   one day of reports from a local sandbox shop, through a real Airflow
# make test   format, lint, types, all fast tests
# make help   the other targets

PYTHON ?= python3
WORKERS ?= 2
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check
SAY = @printf '\n== %s\n'

.PHONY: bench-download bench-points help demo sandbox test lint types unit test-oldest test-stores test-kills test-cluster test-medusa clean
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

# -- environments: a stamp for each set of packages, renewed when what it is made from changes ----------

.venv/.demo: pyproject.toml constraints.txt
	$(SAY) 'Installing Airflow and this package into .venv (once, about a minute)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[sandbox]'
	@touch $@

.venv/.test: .venv/.demo
	$(SAY) 'Installing the tools of the tests into .venv'
	@.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[test,check]'
	@touch $@

.venv/.stores: .venv/.test
	$(SAY) 'Installing the clients and servers of object stores into .venv (once, two minutes)'
	@.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[stores]'
	@touch $@

tests/stores/node_modules/.package-lock.json: tests/stores/package-lock.json
	$(SAY) 'Installing an Azure server into tests/stores/node_modules (once, needs Node.js)'
	@npm ci --prefix tests/stores --no-audit --no-fund --loglevel=error
	@touch $@

.venv-oldest/.test: pyproject.toml .ci/constraints-oldest.txt
	$(SAY) 'Installing the oldest supported Airflow into .venv-oldest (about a minute)'
	@$(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python $(PIP_INSTALL) --constraint .ci/constraints-oldest.txt --editable '.[test]'
	@touch $@

.medusa-lab/.stamp: .venv/.test $(wildcard tests/medusa/lab/*) $(addprefix tests/medusa/,lab.py postgres.py seed.py)
	$(SAY) 'Installing and seeding a Medusa server into .medusa-lab (once, about two minutes)'
	@.venv/bin/python -m tests.medusa.lab
	@touch $@

.venv/.bench: .venv/.stores
	$(SAY) 'Installing what downloads are measured against into .venv'
	@.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[bench]'
	@touch $@

# -- targets -------------------------------------------------------------------------------------------

demo: .venv/.demo ## Run the example DAG against the sandbox; files land in demo-output/
	@.venv/bin/python -m stoq_provider.sandbox.demo

sandbox: .venv/.demo ## Run the sandbox alone, to point your own Airflow at
	@.venv/bin/stoq-sandbox

test: lint types unit ## Format, lint, types, all fast tests

lint: .venv/.test
	$(SAY) 'ruff'
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .

types: .venv/.test
	$(SAY) 'mypy'
	@.venv/bin/mypy

unit: .venv/.test
	$(SAY) 'pytest'
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

test-oldest: .venv-oldest/.test ## The unit tests on Airflow 2.11
	$(SAY) 'pytest on the oldest supported Airflow'
	@.venv-oldest/bin/python -m pytest tests/unit -n $(WORKERS) --dist loadgroup $(ARGS)

test-stores: .venv/.stores tests/stores/node_modules/.package-lock.json ## Downloads and records on disk and on real S3, GCS and Azure servers (needs Node.js)
	$(SAY) 'pytest on object stores'
	@.venv/bin/python -m pytest tests/stores -n $(WORKERS) $(ARGS)

test-kills: .venv/.stores tests/stores/node_modules/.package-lock.json ## kill -9 and SIGTERM at 100 random moments of a download to each store
	$(SAY) 'Downloads killed at random moments'
	@.venv/bin/python -m tests.stores.kills $(ARGS)

test-cluster: .venv/.test ## Killed workers and triggerers on a real Airflow cluster (two minutes)
	$(SAY) 'pytest on an Airflow cluster'
	@.venv/bin/python -m pytest tests/cluster $(ARGS)

test-medusa: .medusa-lab/.stamp ## Batch jobs on a real Medusa server (needs Node.js; four minutes)
	$(SAY) 'pytest on a Medusa server'
	@.venv/bin/python -m pytest tests/medusa --medusa=real -n $(WORKERS) --dist loadfile $(ARGS)

bench-download: .venv/.bench ## Time, CPU and memory of downloads against curl, boto3 and HttpToS3Operator (18 minutes)
	@.venv/bin/python -m tests.benchmarks.download $(ARGS)

bench-points: .venv/.test ## How a shop's points are spent, next to other ways (25 minutes; ARGS=--quick: 7)
	@.venv/bin/python -m tests.benchmarks.points $(ARGS)

clean: ## Remove environments, caches and demo output
	rm -rf .venv .venv-oldest .medusa-lab .airflow-demo demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
