# liveml.vsphere: `make demo` and `make test` set up everything themselves.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

# Thousands of processes import the same modules: each is compiled once, not by every process.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup-demo setup-test setup-frameworks demo demo-cloud test unit integration e2e live chaos frameworks thorough worlds mutants same-model lint sanity importer matrix release docs roles reference bench figures packaging gitops browser screenshots lab lab-stop lock clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup-demo:
	@$(PYTHON) scripts/bootstrap.py demo

setup-test:
	@$(PYTHON) scripts/bootstrap.py test

setup-frameworks:
	@$(PYTHON) scripts/bootstrap.py frameworks

demo: setup-demo ## Evacuate and restore a host of the embedded lab under real training
	@$(BIN)/python -m lab.demo

demo-cloud: setup-demo ## Move VMs to a second vCenter of the lab and home again under real training
	@$(BIN)/python -m lab.demo_cloud

test: setup-test ## Run all tests and linters
	@$(PYTEST) tests --numprocesses 5 --dist loadgroup --no-loadscope-reorder --cov=plugins --cov-report=term:skip-covered --cov-fail-under=85

unit: setup-test ## Run the unit tests
	@$(PYTEST) tests/unit

integration: setup-test ## Run the tests of modules against the lab
	@$(PYTEST) tests/integration

e2e: setup-test ## Run the tests that call ansible-playbook against the lab
	@$(PYTEST) tests/e2e

live: setup-test ## Move real VMs with real trainings between real hypervisors (2 minutes, the first time 5)
	@LIVE=all $(PYTEST) tests/live -s --exitfirst

browser: setup-test ## Run the tests of the report in Chromium
	@$(PYTEST) tests/browser

worlds: setup-test ## Try verdicts in generated worlds: make worlds [COUNT=100000]
	@PYTHONPATH=$(BIN)/../collections:. $(BIN)/python -m tests.worlds $(or $(COUNT),100000)

mutants: setup-test ## Change the code and see its unit tests fail: make mutants [SAMPLE=20] [FILE="plugins/... [...]"]
	@nice $(BIN)/python -m scripts.mutants $(or $(SAMPLE),0) $(FILE)

frameworks: setup-frameworks ## Watch real TensorFlow by MLflow, old and new, TensorBoard and Prometheus (installs 2 GB)
	@THOROUGH=1 $(PYTEST) tests/frameworks -rs

thorough: setup-test ## Run the tests of which make test has only a sample (half an hour)
	@THOROUGH=1 $(PYTEST) tests -m thorough --numprocesses 2 --dist loadgroup --no-loadscope-reorder

gitops: setup-test ## Run the tests of pipelines and rulebooks with all their variants
	@THOROUGH=1 $(PYTEST) tests/gitops tests/eda

chaos: setup-test ## Break everything around round trips of a host: make chaos [SCHEDULES=200] (an hour on two processors)
	@ONLY=chaos TRIALS=$(SCHEDULES) $(BIN)/python -m benchmarks

same-model: setup-test ## Train on all flights with and without moves, and compare the models row by row
	@SAME_MODEL=long $(PYTEST) tests/integration/test_same_model.py -k learnt --durations=1

bench: setup-test ## Measure what is promised: make bench [ONLY=stall] [TRIALS=N] [OUT=FILE]
	@ONLY=$(ONLY) TRIALS=$(TRIALS) OUT=$(OUT) $(BIN)/python -m benchmarks

figures: setup-test ## Make the documentation's page of figures from benchmarks/results
	@$(BIN)/python -m benchmarks.page

roles: setup-test ## Make the files that follow from the roles' options: READMEs, defaults, surveys
	@$(BIN)/python scripts/make_roles.py
	@$(BIN)/python scripts/make_surveys.py

reference: setup-test ## Make the reference pages of the documentation that follow from the code
	@$(BIN)/python -m scripts.make_reference

screenshots: setup-test ## Make docs/images again from real runs in the lab
	@$(BIN)/python scripts/screenshots.py

lint: setup-test ## Run the linters
	@$(PYTEST) tests/lint

packaging: setup-test ## Run the tests of inventories, execution environment, node counting and release
	@$(PYTEST) tests/packaging

sanity: setup-test ## Run all tests of ansible-test sanity, without containers
	@$(BIN)/python -m scripts.sanity

importer: setup-test ## Import the artefact as Galaxy and Automation Hub do
	@$(BIN)/python -m scripts.importer

matrix: setup-test ## Run the artefact under every supported ansible-core and Python of this machine
	@$(BIN)/python -m scripts.matrix

release: setup-test ## Prepare a release up to its tag: make release VERSION=x.y.z
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-playbook release/release.yml -e release_version=$(VERSION)

docs: setup-test ## Build the documentation
	@$(BIN)/python scripts/docs.py

lab: setup-demo ## Start the lab and print how to reach it
	@$(BIN)/python -m lab up

lab-stop: ## Stop the lab
	@$(BIN)/python -m lab down

lock: setup-test ## Choose new versions for requirements/*.txt and gitops/requirements.txt
	@for group in uv test "demo --constraint=requirements/test.txt" frameworks mlflow-2.2 go java "awx --no-deps"; do set -- $$group; \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade $$2 \
	    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	    requirements/$$1.in -o requirements/$$1.txt || exit 1; \
	done
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --constraint=requirements/test.txt \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" requirements/gitops.in -o gitops/requirements.txt

clean: ## Remove everything that make created
	rm -rf .venv .lab
