# Everything a person or CI runs. Each target does what it needs first; a second run does no set-up again.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
JARS := .millrace/jars
PACKAGES := .venv/.packages-installed
SPARK_JARS := $(JARS)/.spark-resolved
KAFKA_JARS := $(JARS)/.kafka-resolved
CLASSES := $(JARS)/.classes-archived
# Apart from READY: 109 MB that only tests and `millrace local up --registry` need.
REGISTRY_JARS := $(JARS)/.registry-fetched
READY := $(PACKAGES) $(SPARK_JARS) $(KAFKA_JARS) $(CLASSES)
# Two test processes, a file in one of them as a whole, the long files first; each has its own broker, node and Spark.
# With servers of your own, which all tests would share, one process.
SIDE_BY_SIDE := $(if $(MILLRACE_AEROSPIKE)$(MILLRACE_KAFKA)$(MILLRACE_REGISTRY),,-n 2 --dist loadfile --no-loadscope-reorder)

.PHONY: help setup demo test chaos chaos-table fuzz test-unit test-integration check format bench docs clean clean-all

help: ## show this list
	@echo "make TARGET, where TARGET is:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## virtual environment, packages and jars; other targets call it
	@echo "Set-up is complete: packages in .venv, jars in $(JARS)."

demo: $(READY) ## the whole job with crashes, judged; SEED= AEROSPIKE=host:port NAMESPACE= CLEAR=1 FORMAT= OUTPUT=json KEEP=1
	@$(BIN)/millrace demo $(if $(SEED),--seed $(SEED)) $(if $(AEROSPIKE),--aerospike $(AEROSPIKE)) \
	  $(if $(NAMESPACE),--namespace $(NAMESPACE)) $(if $(FORMAT),--format $(FORMAT)) \
	  $(if $(OUTPUT),--output $(OUTPUT)) $(if $(filter-out 0 no,$(CLEAR)),--clear) $(if $(filter-out 0 no,$(KEEP)),--keep)

test: $(READY) $(REGISTRY_JARS) ## all tests: unit, contract, integration, chaos; ARGS= goes to pytest
	@echo "Running all tests, two files at a time: chaos, contract, integration on a real broker, node and Spark, unit."
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --durations=15 $(ARGS)

chaos: $(READY) ## kills at every boundary, judged; SCENARIO= RUNS= SEED= MINUTES= NAME= WITHOUT=; goes on where it was stopped
	@$(BIN)/python -m tests.chaos $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(RUNS),--runs $(RUNS)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(MINUTES),--minutes $(MINUTES)) $(if $(NAME),--name $(NAME)) $(if $(OUTPUT),--output $(OUTPUT)) \
	  $(if $(WITHOUT),--without $(WITHOUT)) $(ARGS)

chaos-table: $(PACKAGES) ## write the tables of the last `make chaos` into docs/guarantees.md; NAME=
	@$(BIN)/python -m tests.chaos --table $(if $(NAME),--name $(NAME))

test-unit: $(READY) ## tests without network or Spark, in seconds; ARGS= goes to pytest
	@$(BIN)/python -m pytest tests/unit -m "not spark and not stack" $(ARGS)

test-integration: $(READY) $(REGISTRY_JARS) ## tests on the real broker, node, Spark and Delta; ARGS= goes to pytest
	@$(BIN)/python -m pytest tests/contract tests/integration --durations=15 $(ARGS)

check: $(PACKAGES) ## style, format, types, layers
	@echo "Checking style and format (ruff), types (mypy strict) and layers."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/unit/test_layers.py

format: $(PACKAGES) ## rewrite the code in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

fuzz: $(READY) ## a million damaged messages through the readers; ARGS= goes to the run
	@$(BIN)/python -m tests.fuzz $(ARGS)

bench: $(READY) ## measure speed and latency; results as a table and as JSON; ARGS= goes to the bench
	@$(BIN)/python -m tests.bench $(ARGS)

docs: $(PACKAGES) ## write the pages of docs/ that are made from the code
	@$(BIN)/python -m deploy.docs

clean: ## stop the local stack; delete its data, caches and reports; keep the set-up
	@if [ -x $(BIN)/millrace ]; then $(BIN)/millrace local down --purge; fi
	@find .millrace -mindepth 1 -maxdepth 1 ! -name jars -exec rm -rf {} + 2>/dev/null || true
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist spark-warehouse metastore_db derby.log artifacts
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
	@echo "Deleted data, caches and reports. The set-up is kept; 'make clean-all' deletes it too."

clean-all: clean ## as clean, and delete the virtual environment and the jars
	@rm -rf .venv .millrace ./*.egg-info
	@echo "Deleted the set-up: .venv and .millrace."

$(PACKAGES): pyproject.toml requirements.lock
	@command -v python3 >/dev/null || { echo "missing: Python 3.11 or newer. Debian or Ubuntu: apt install python3.11 python3.11-venv." >&2; exit 1; }
	@python=$$(python3 deploy/setup/prerequisites.py) || exit 1; \
	 if [ -x $(BIN)/python ] && ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then rm -rf .venv; fi; \
	 if ! [ -x $(BIN)/python ]; then echo "Creating .venv with $$($$python --version) ..."; $$python -m venv .venv; fi
	@echo "Installing the packages of requirements.lock into .venv (some hundred megabytes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(JARS)/.%-resolved: deploy/jars/%/pom.xml | $(PACKAGES)
	@echo "Fetching the jars of $* with Maven into $(JARS)/$* ..."
	@rm -rf $(JARS)/$* && mkdir -p $(JARS)
	@mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(JARS)/$*
	@touch $@

$(REGISTRY_JARS): deploy/jars/registry/pom.xml deploy/jars/registry/expected.txt | $(PACKAGES)
	@$(BIN)/python -m deploy.setup.registry_files
	@touch $@

$(CLASSES): $(PACKAGES) $(SPARK_JARS) $(KAFKA_JARS)
	@echo "Archiving the classes of Spark, Delta and Kafka, so that drivers and brokers start faster (a minute or two, once) ..."
	@$(BIN)/python -m deploy.setup.class_archive 2> $(JARS)/class-archive.log || tail -5 $(JARS)/class-archive.log >&2
	@touch $@
