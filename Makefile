# Two commands matter: `make run` serves, `make test` tests. Both set up all they need.
.DEFAULT_GOAL := help
.PHONY: help run test lint types format generate manifests lock model bench regression cluster cluster-test e2e faults image test-image sbom audit clean

VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8000
SST2 ?= ../shared/data/sst2
export VENV

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## Set up and serve the page and the API on 127.0.0.1:8000 (PORT=...)
	@tools/venv requirements-local.txt
	@$(BIN)/sentiment serve --port $(PORT)

test: lint types ## Set up, lint, check types, test
	@$(BIN)/pytest

lint: $(VENV)/dev
	@$(BIN)/ruff check --output-format concise
	@$(BIN)/ruff format --check --quiet || { echo "run: make format"; exit 1; }

types: $(VENV)/dev
	@$(BIN)/mypy

format: $(VENV)/dev ## Format the code
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

generate: $(VENV)/dev ## Write again what is generated: init.sql, docs/settings.md, the chart's docs
	@$(BIN)/python -m sentiment_k8s.migrations init.sql
	@$(BIN)/python tools/generate.py
	@$(BIN)/python tools/chart/generate.py

manifests: $(VENV)/dev ## Render k8s/ from the chart
	@$(BIN)/python tools/chart/manifests.py

lock: $(VENV)/dev ## Pin the newest versions of everything, with hashes
	@tools/lock

model: ## Train, export and calibrate the bundled model (SST2=folder of GLUE files)
	@training/make SST2=$(SST2)

bench: $(VENV)/dev ## Measure the engine and the service (bench/README.md says how to read it)
	@$(BIN)/python -m bench.engine
	@$(BIN)/python -m bench.service

regression: $(VENV)/dev ## Compare a short run's ratios with the committed ones; warns, never fails
	@$(BIN)/python -m bench.regression

cluster: ## Leave a ready Kubernetes: kind's or minikube's, else our own (CONTEXT=current: kubectl's)
	@tools/cluster/choose $(CONTEXT)

cluster-test: $(VENV)/dev ## Test our own cluster (as root; it starts and stops it)
	@tools/cluster/test

e2e: $(VENV)/dev ## Run the scenarios on a real cluster, as root (E2E=short: the ones of CI; E2E=FILE)
	@BIN=$(BIN) tests/e2e/run $(if $(filter short,$(E2E)),-m short,$(E2E))

faults: $(VENV)/dev ## Kill, cut off and starve the parts at random under load (FAULTS='--rounds 20')
	@$(BIN)/python -m tests.faults $(FAULTS)

image: ## Build sentiment-app:latest (as root where no Docker engine runs)
	@tools/image/base
	@tools/image/build

test-image: $(VENV)/dev ## Test the image that `make image` built, in real containers
	@$(BIN)/pytest tests/image

sbom: $(VENV)/dev ## Write what is in the image to build/sbom.json (CycloneDX)
	@$(BIN)/python tools/image/report.py sbom

audit: $(VENV)/dev ## Look for known vulnerabilities in the image's packages
	@$(BIN)/python tools/image/report.py audit

clean: ## Remove what was made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

.PHONY: $(VENV)/dev
$(VENV)/dev:
	@tools/venv requirements-dev.txt
