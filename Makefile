# make demo   one day of reports from a local sandbox shop, through a real Airflow
# make test   format, lint, types, all fast tests
# make help   the other targets

PYTHON ?= python3
# Else every process of every test compiles Airflow anew.
unexport PYTHONDONTWRITEBYTECODE
# One more than the cores of a small machine: many tests wait.
WORKERS ?= 3
# The tests of a file share its servers; the first file is the longest.
DIST = --dist loadfile --no-loadscope-reorder
# Tests at Medusa mostly wait for its next step; each worker has a server of its own.
MEDUSA_WORKERS ?= 2
OLDEST = 2.11
BETWEEN = 3.0 3.1 3.2
NEWEST = 3.3
# On the versions in between, a change is to pass what meets Airflow itself.
MEETS_AIRFLOW = tests/testing/test_dag_runs.py $(addprefix tests/integration/,test_dag.py test_lineage.py) \
	$(addprefix tests/unit/,operators sensors triggers hooks/test_connection.py jobs/test_assets.py \
	jobs/test_wait_memory.py jobs/test_state_store.py download/test_destination.py test_provider_info.py)
# On the oldest, all tests but those of core, systems and transport, which work without Airflow.
IMPORTS_AIRFLOW = tests/testing/test_dag_runs.py tests/integration $(filter-out %/conftest.py %/core %/systems %/transport,$(wildcard tests/unit/[a-z]*))
SAY = @printf '\n== %s\n'

# uv and pip of .venv install into the other environments too, which need none.
# $(call install,environment,constraints,extra of this folder[,what else instead]). uv takes seconds for what takes pip
# minutes. It does not read pip's settings, though: where packages come from a mirror that only pip knows, pip does it.
PIP_INSTALL = install --quiet --disable-pip-version-check
WHAT = $(or $(4),--editable '.[$(3)]')
define install
	@.venv/bin/python -m uv pip install --quiet --python $(1)/bin/python --constraint $(2) $(WHAT) \
		|| .venv/bin/python -m pip --python $(1)/bin/python $(PIP_INSTALL) --constraint $(2) $(WHAT)
endef

.PHONY: audit bench-download bench-points bench-trigger clean demo dist environments freeze fuzz help lint sandbox storm test \
	test-between test-browser test-busy test-cluster test-kills test-matrix test-medusa test-oldest test-properties test-sandbox test-stores \
	types unit
.DEFAULT_GOAL := help

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

# -- environments: a stamp for each set of packages, renewed when what it is made from changes ----------

.venv/.uv:
	$(SAY) 'Making .venv (once)'
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip $(PIP_INSTALL) uv || echo 'No uv here; pip takes longer.'
	@touch $@

.venv/.demo: pyproject.toml constraints/3.3.txt .venv/.uv
	$(SAY) 'Installing Airflow and this package into .venv (once)'
	$(call install,.venv,constraints/3.3.txt,sandbox)
	@touch $@

.venv/.test: .venv/.demo
	$(SAY) 'Installing the tools of the tests into .venv'
	$(call install,.venv,constraints/3.3.txt,check)
	@touch $@

.venv/.stores: .venv/.test
	$(SAY) 'Installing the clients and servers of object stores into .venv (once)'
	$(call install,.venv,constraints/3.3.txt,stores)
	@touch $@

tests/stores/node_modules/.package-lock.json: tests/stores/package-lock.json
	$(SAY) 'Installing an Azure server into tests/stores/node_modules (once, needs Node.js)'
	@npm ci --prefix tests/stores --no-audit --no-fund --loglevel=error
	@touch $@

.PRECIOUS: .venv-%/.test
.venv-%/.test: pyproject.toml constraints/%.txt .venv/.uv
	$(SAY) 'Installing Airflow $* into .venv-$* (once)'
	@$(PYTHON) -m venv --without-pip .venv-$*
	$(call install,.venv-$*,constraints/$*.txt,test)
	@touch $@

.medusa-lab/.stamp: .venv/.test $(wildcard tests/medusa/lab/*) $(addprefix tests/medusa/,lab.py seed.py) tests/services/postgres.py
	$(SAY) 'Installing and seeding a Medusa server into .medusa-lab (once, about two minutes)'
	@.venv/bin/python -m tests.medusa.lab
	@touch $@

.venv/.bench: .venv/.stores
	$(SAY) 'Installing what benchmarks compare and draw with into .venv'
	$(call install,.venv,constraints/3.3.txt,bench)
	@touch $@

.venv/.fuzz: .venv/.test
	$(SAY) 'Installing atheris into .venv'
	$(call install,.venv,constraints/3.3.txt,fuzz)
	@touch $@

.venv/.cluster: .venv/.stores
	$(SAY) 'Installing Redis, Celery and clients of PostgreSQL'
	@.venv/bin/python -m tests.services.debian redis-server
	$(call install,.venv,constraints/3.3.txt,cluster)
	@touch $@

# The browser is Debian's: Playwright's own would be downloaded past all package managers.
.venv/.browser: .venv/.cluster
	$(SAY) 'Installing Chromium, and what drives it into .venv'
	@.venv/bin/python -m tests.services.debian chromium
	$(call install,.venv,constraints/3.3.txt,browser)
	@touch $@

environments: .venv/.browser tests/stores/node_modules/.package-lock.json .medusa-lab/.stamp \
	$(patsubst %,.venv-%/.test,$(OLDEST) $(BETWEEN))

# -- targets -------------------------------------------------------------------------------------------

demo: .venv/.demo ## Run the example DAG against the sandbox; files land in demo-output/
	@.venv/bin/python -m stoq_provider.testing.demo

sandbox: .venv/.demo ## Run the sandbox alone, to point your own Airflow at
	@.venv/bin/stoq-sandbox

.PHONY: docs
docs: .venv/.test ## Write docs/parameters.md anew, from the docstrings
	@.venv/bin/python -m tests.parameters

test: lint ## Format, lint, types, all fast tests
	@$(MAKE) --no-print-directory -j 2 types unit

lint: .venv/.test
	$(SAY) 'ruff'
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/ruff check --quiet .
	$(SAY) 'import-linter'
	@.venv/bin/lint-imports --no-cache

types: .venv/.test
	$(SAY) 'mypy'
	@.venv/bin/mypy

unit: .venv/.test
	$(SAY) 'pytest'
	@.venv/bin/python -m pytest -n $(WORKERS) $(DIST) $(ARGS)

test-busy: .venv/.test ## The fast tests three times, shuffled, beside four busy processes (20 minutes)
	@.venv/bin/python -m tests.busy -n $(WORKERS) $(DIST) $(ARGS)

test-properties: .venv/.test ## Any input of others, 100,000 examples a test (more than an hour of a processor; ARGS as of pytest)
	$(SAY) 'hypothesis, at length'
	@.venv/bin/python -m pytest $(wildcard tests/unit/*/test_any_*.py) -m hypothesis --hypothesis-profile=thorough \
		-n $(WORKERS) $(ARGS)

fuzz: .venv/.fuzz ## The same led by coverage: responses, records of CSV (4 minutes; ARGS=-max_total_time=3600: 2 hours)
	$(SAY) 'atheris on the decoder of responses'
	@.venv/bin/python -m tests.fuzz answers -max_total_time=120 $(ARGS)
	$(SAY) 'atheris on the counter of records'
	@.venv/bin/python -m tests.fuzz records -max_total_time=120 $(ARGS)

test-sandbox: .venv/.test ## The sandbox itself, and how like the real Medusa it is
	$(SAY) 'pytest on the sandbox'
	@.venv/bin/python -m pytest tests/testing tests/medusa -n $(WORKERS) $(DIST) $(ARGS)

test-matrix: $(addprefix test-on-,$(OLDEST) $(BETWEEN) $(NEWEST)) ## All fast tests on each Airflow from 2.11 to 3.3

test-on-$(NEWEST): unit ;

test-on-%: .venv-%/.test
	$(SAY) 'pytest on Airflow $*'
	@.venv-$*/bin/python -m pytest -n $(WORKERS) $(DIST) $(ARGS)

test-oldest: .venv-$(OLDEST)/.test ## On the oldest Airflow: the fast tests of all that imports it
	$(SAY) 'pytest on Airflow $(OLDEST)'
	@.venv-$(OLDEST)/bin/python -m pytest $(IMPORTS_AIRFLOW) -n $(WORKERS) $(DIST) $(ARGS)

test-between: $(BETWEEN:%=test-short-on-%) ## On the versions in between: the fast tests of what meets Airflow itself

test-short-on-%: .venv-%/.test
	$(SAY) 'pytest on Airflow $*, in short'
	@.venv-$*/bin/python -m pytest $(MEETS_AIRFLOW) -n $(WORKERS) $(DIST) $(ARGS)

dist: .venv/.test ## Wheel and sdist in dist/, checked, and tried in an environment without extras
	$(SAY) 'Building'
	@rm -rf dist .venv-dist
	@.venv/bin/python -m build --no-isolation --outdir dist .
	$(SAY) 'Installing the wheel into .venv-dist'
	@$(PYTHON) -m venv --without-pip .venv-dist
	$(call install,.venv-dist,constraints/$(NEWEST).txt,,dist/*.whl)
	@.venv-dist/bin/python -I tests/distribution.py dist

test-stores: .venv/.stores tests/stores/node_modules/.package-lock.json ## Downloads and records on disk and on real S3, GCS and Azure servers (needs Node.js)
	$(SAY) 'pytest on object stores'
	@.venv/bin/python -m pytest tests/stores -n $(WORKERS) $(ARGS)

test-kills: .venv/.stores tests/stores/node_modules/.package-lock.json ## kill -9 and SIGTERM at 100 random moments of a download to each store
	$(SAY) 'Downloads killed at random moments'
	@.venv/bin/python -m tests.stores.kills $(ARGS)

test-cluster: .venv/.cluster ## The example DAGs, and killed workers and triggerers, in a real Airflow on Celery (six minutes)
	$(SAY) 'pytest on the example DAGs and on an Airflow cluster'
	@.venv/bin/python -m pytest tests/examples tests/cluster $(ARGS)

storm: .venv/.cluster ## Exports, actions and mails on a cluster that keeps failing, ten times (40 minutes; ARGS='--seeds 7': one)
	$(SAY) 'Ten storms'
	@.venv/bin/python -m pytest tests/cluster/test_storm.py --seeds 1-10 --storm-seconds 120 $(ARGS)

test-browser: .venv/.browser ## Connection forms and a task's page in Chromium (two minutes; ARGS=--screenshots: renew docs/images)
	$(SAY) 'pytest in a browser'
	@.venv/bin/python -m pytest tests/browser $(ARGS)

test-medusa: .medusa-lab/.stamp ## Batch jobs on a real Medusa server (needs Node.js; two minutes)
	$(SAY) 'pytest on a Medusa server'
	@.venv/bin/python -m pytest tests/medusa --medusa=real -n $(MEDUSA_WORKERS) $(DIST) $(ARGS)

bench-download: .venv/.bench ## Time, CPU and memory of downloads against curl, boto3 and HttpToS3Operator (18 minutes)
	@.venv/bin/python -m tests.benchmarks.download $(ARGS)

bench-trigger: .venv/.cluster ## What 200 waiting sensors cost, with and without start_from_trigger (7 minutes)
	@.venv/bin/python -m tests.benchmarks.from_trigger $(ARGS)

bench-points: .venv/.bench ## How a shop's points are spent, next to other ways (35 minutes; ARGS=--quick: 8; ARGS='--only fleet': 10)
	@.venv/bin/python -m tests.benchmarks.points $(ARGS)

freeze: .venv/.test ## Freeze what later releases have to read of this version (ARGS=--again: anew)
	@.venv/bin/python -m tests.frozen $(ARGS)

# Not in .ci/run: an advisory of today would fail the change of somebody else. --strict: what could not be
# looked up is no success.
audit: .venv/.uv ## Known vulnerabilities in the pinned packages (asks PyPI)
	$(SAY) 'pip-audit'
	@$(PYTHON) -m venv --without-pip .venv-audit
	$(call install,.venv-audit,constraints/$(NEWEST).txt,,pip-audit)
	@for pins in constraints/*.txt; do \
		.venv-audit/bin/python -m pip_audit --strict --no-deps --disable-pip -r $$pins $(ARGS) || failed=1; done; \
		exit $${failed:-0}

clean: ## Remove environments, caches and demo output
	rm -rf .venv .venv-* .medusa-lab .airflow-demo demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
