# Sandbox Platform. `make` sets up everything; `make help` lists the rest.
PYTHON ?= python3
SETUP = $(PYTHON) -m scripts.setup
VENV = .venv/bin

export PYTHONDONTWRITEBYTECODE = 1
export RUNTIMES
.DEFAULT_GOAL := setup
.PHONY: setup ensure_env ensure_uv venv frontend build start stop restart logs smoke test test-fast bench doctor screenshots clean dev lock lint help

setup: ## install what is missing, build, start, smoke-test, and print how to reach it
	@$(SETUP) setup

ensure_env: ## write .env with generated secrets, or add what is missing in it
	@$(SETUP) ensure_env

ensure_uv: ## find uv, or install it into .tools
	@$(SETUP) ensure_uv

venv: ## bring .venv up to requirements-dev.txt
	@$(SETUP) ensure_python

frontend: ## build the admin's browser files from npm packages, for dev and the tests
	@$(SETUP) ensure_frontend

build: ## build the images whose content changed (RUNTIMES=all, or names: "go rust")
	@$(SETUP) build

start: ## start the stack and wait until it is healthy
	@$(SETUP) start

stop: ## stop the stack; data stays
	@$(SETUP) stop

restart: ## stop and start: takes over a changed .env
	@$(SETUP) restart

logs: ## follow the stack's logs (SERVICE=web for one of them)
	@$(SETUP) logs

smoke: ## POST /run in both languages against the running stack
	@$(SETUP) smoke

test: ## all tests, Docker and gVisor included (ARGS="-k name")
	@$(SETUP) prepare_tests
	@$(VENV)/pytest $(ARGS)

test-fast: venv frontend ## the tests that need neither Docker nor the stack
	@$(VENV)/pytest -m "not needs_docker and not needs_stack" $(ARGS)

bench: venv ## measure the running stack over HTTP (ARGS go to the benchmark)
	@$(VENV)/python -m bench $(ARGS)

doctor: ## check Docker, gVisor, seccomp, network, limits, database, queue and pool
	@$(SETUP) doctor

screenshots: venv frontend ## real pages of a real platform, into docs/screenshots
	@$(SETUP) ensure_browser
	@$(VENV)/python -m scripts.screenshots

clean: ## remove the stack, its sandboxes and its DATABASE; found by label
	@$(SETUP) clean

dev: venv frontend ## web, worker, keeper and callbacks as plain processes on an embedded Postgres in .dev
	@$(VENV)/python -m scripts.dev

lock: ## renew requirements*.txt from pyproject.toml
	@$(SETUP) lock

lint: venv ## ruff, mypy and the layers of the rooms
	@$(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/lint-imports && $(VENV)/mypy .

help: ## this list
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
