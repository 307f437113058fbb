# `make run` and `make test` do all the set-up; Python 3.11 or later and make are enough.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PORT ?= 8080
WEIR_HOME ?= .weir
# Twice quiet: errors only. Older pips warn of how one dependency is packaged, which cannot be changed here.
# --no-deps with each lock file: it has every package, and pip would look for a newer one behind a requirement with an extra.
PIP := .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check

export PORT WEIR_HOME

.PHONY: help run test check load faults conformance conformance-clean coverage docs clean lock

help: ## This list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/run ## Run Weir on this machine: http://127.0.0.1:8080 (PORT=), state in .weir (WEIR_HOME=)
	@exec .venv/bin/weir run

test: .venv/test ## Run the tests; those of an absent engine skip and say how to get it
	@.venv/bin/python -m pytest $(ARGS)

check: .venv/test ## Format, lint, types and the templates
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy && .venv/bin/cfn-lint infra/template.yaml

load: .venv/load ## Measure what a running stack can take, then 15 s of load, with report and verdict
	@.venv/bin/weir load attack --profile smoke $(ARGS)

faults: .venv/load ## The whole fault matrix with its long times, on a stack of its own
	@.venv/bin/weir load faults --scale 5 $(ARGS)

conformance: .venv/test ## What AWS documents, on the embedded stack and LocalStack (LOCALSTACK_ENDPOINT=), or AT=aws; writes docs/conformance.md
	@.venv/bin/python -m tests.conformance $(if $(AT),--at $(AT)) $(if $(ENDPOINT),--endpoint $(ENDPOINT)) $(if $(YES),--yes) $(ARGS)

conformance-clean: .venv/test ## Remove what killed runs of conformance have left on AWS
	@.venv/bin/python -m tests.conformance --clean --at $(or $(AT),aws) $(if $(ENDPOINT),--endpoint $(ENDPOINT)) $(ARGS)

coverage: .venv/test ## The tests of ingest and consumers with their coverage, which has a floor (pyproject.toml)
	@.venv/bin/python -m pytest --cov --cov-report=term $(ARGS) tests/ingest tests/consumers

docs: .venv/test ## Write the generated pages of docs again
	@.venv/bin/python -m tests.docs

lock: .venv/test ## Resolve the lock files again
	@.venv/bin/python requirements/lock.py

clean: ## Remove the environment and what was built; never the data in .weir
	@rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Weir needs Python 3.11 or later (with venv; on Debian and Ubuntu: apt install python3-venv). Name one with PYTHON=." >&2; exit 1; }
	@echo "setting up .venv (once) ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/run: requirements/run.txt pyproject.toml | .venv/bin/python
	@$(PIP) --require-hashes --no-deps -r requirements/run.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@

.venv/load: requirements/load.txt pyproject.toml | .venv/bin/python
	@$(PIP) --require-hashes --no-deps -r requirements/load.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@ .venv/run

.venv/test: requirements/test.txt pyproject.toml | .venv/bin/python
	@$(PIP) --require-hashes --no-deps -r requirements/test.txt && $(PIP) --no-deps --no-build-isolation -e . && touch $@ .venv/run .venv/load
