# make demo   one day of reports from a local sandbox shop, through a real Airflow
# make test   format, lint, types, all fast tests
# make help   the other targets

PYTHON ?= python3
WORKERS ?= 2
PIP_INSTALL = -m pip install --disable-pip-version-check
SAY = @printf '\n== %s\n'

.PHONY: help demo sandbox test lint types unit test-oldest test-stores test-cluster clean
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
	$(SAY) 'Installing an S3 client and server into .venv'
	@.venv/bin/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[stores]'
	@touch $@

.venv-oldest/.test: pyproject.toml .ci/constraints-oldest.txt
	$(SAY) 'Installing the oldest supported Airflow into .venv-oldest (about a minute)'
	@$(PYTHON) -m venv .venv-oldest
	@.venv-oldest/bin/python $(PIP_INSTALL) --constraint .ci/constraints-oldest.txt --editable '.[test]'
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

test-stores: .venv/.stores ## Downloads and records on a real S3 server
	$(SAY) 'pytest on object stores'
	@.venv/bin/python -m pytest tests/stores $(ARGS)

test-cluster: .venv/.test ## Killed workers and triggerers on a real Airflow cluster (two minutes)
	$(SAY) 'pytest on an Airflow cluster'
	@.venv/bin/python -m pytest tests/cluster $(ARGS)

clean: ## Remove environments, caches and demo output
	rm -rf .venv .venv-oldest .airflow-demo demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
