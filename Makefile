# Sandbox Platform. `make` sets up everything; `make help` lists the other targets.
PYTHON ?= python3
SETUP = $(PYTHON) -m scripts.setup
VENV = .venv/bin
# A process for each core and one more, because tests of faults mostly wait; and the report of what is slow.
SPREAD = -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --durations 15 --reruns 1 -p tests.rerunning

# Without compiled modules, every process that a test starts compiles Django first: two seconds of a core. They go to
# a folder of their own, outside the source tree.
export PYTHONPYCACHEPREFIX = $(CURDIR)/.setup/pycache
unexport PYTHONDONTWRITEBYTECODE
export RUNTIMES
.DEFAULT_GOAL := setup
.PHONY: setup ensure_env ensure_uv venv frontend build start stop restart upgrade migrate-from-0.1 backup restore invite join drain return nodes scan docs logs smoke test test-all test-fast test-cluster fidelity attack fuzz bench chaos load doctor host-test runtime-pages client-reference screenshots release push clean dev lock lint help

setup: ## install what is missing, build, start and smoke-test; print addresses, token and settings for RAGFlow
	@$(SETUP) setup

ensure_env: ## write .env with generated secrets, or add missing variables to it
	@$(SETUP) ensure_env

ensure_uv: ## find uv, or install it into .tools
	@$(SETUP) ensure_uv

venv: ## synchronise .venv with requirements-dev.txt
	@$(SETUP) ensure_python

frontend: ## build the browser files from npm packages, for dev and the tests
	@$(SETUP) ensure_frontend

build: ## build images whose content changed (RUNTIMES=all, or names: RUNTIMES="go rust"; FRESH=yes: all anew; KUBERNETES=yes: those of its nodes, too)
	@$(SETUP) build

start: ## start the stack and wait until it is healthy
	@$(SETUP) start

stop: ## stop the stack; keep its data
	@$(SETUP) stop

restart: ## stop and start; applies a changed .env
	@$(SETUP) restart

upgrade: ## after git pull: back up, then build, migrate and start what it brought (docs/upgrading.md)
	@$(SETUP) upgrade

migrate-from-0.1: ## upgrade the database of an installation of 0.1, after a dump (docs/upgrading.md)
	@$(SETUP) migrate_from_0_1

backup: ## write database, settings and keys to backups/ (TO=file, RECIPIENT=age1…, PASSPHRASE=yes: docs/backup.md)
	@$(SETUP) backup

restore: ## put a backup in place of this installation, or on a new machine (BACKUP=file, IDENTITY=key, YES=yes)
	@$(SETUP) restore

invite: ## write the file with which another host joins this one's database (NODE=name, TO=file: docs/hosts.md)
	@$(SETUP) invite

join: ## make this machine a worker host of another one's database (FROM=file of make invite, NODE=name)
	@$(SETUP) join

drain: ## let a node take no more work (NODE=name; by default this one)
	@$(SETUP) drain

return: ## let a drained node take work again (NODE=name; by default this one)
	@$(SETUP) return

nodes: ## list the nodes of the database
	@$(SETUP) nodes

scan: venv ## list the images' packages (CycloneDX, scan/) and look for known vulnerabilities (docs/security.md)
	@$(VENV)/python -m scripts.scan

docs: venv ## make a site of docs/ in site/, with its links checked
	@NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs build --strict --quiet && echo "site/index.html"

logs: ## follow the logs of the stack (SERVICE=web: only of one service)
	@$(SETUP) logs

smoke: ## send POST /run in Python and Node.js to the running stack
	@$(SETUP) smoke

test: export SANDBOX_ENGINE ?= direct
test: ## run all tests with gVisor (SANDBOX_ENGINE=docker: its engine); schemathesis as one role (ARGS="-k name")
	@$(SETUP) prepare_tests
	@$(VENV)/python -m pytest $(SPREAD) $(ARGS)

test-all: export FUZZ_ROLES = caller,auditor,administrator
test-all: test ## the same with schemathesis as every role: nightly, and before a release

test-fast: venv frontend ## run the tests that need neither Docker nor the stack
	@$(SETUP) ensure_prometheus
	@$(SETUP) ensure_helm
	@$(VENV)/python -m pytest $(SPREAD) -m "not needs_docker and not needs_stack" $(ARGS)

test-cluster: venv ## install the chart in the cluster of KUBECONFIG and test it there (VALUES=file of make push; docs/kubernetes.md)
	@$(SETUP) ensure_helm
	@SANDBOX_CLUSTER_VALUES="$(abspath $(or $(VALUES),$(error VALUES is not set: name the file that make push wrote)))" \
		$(VENV)/python -m pytest -n 0 --timeout 1800 tests/cluster $(ARGS)

fidelity: ## run every case of tests/fidelity plainly and on the platform, for all built runtimes (ARGS="--runtimes c")
	@$(SETUP) prepare_tests
	@$(VENV)/python -m tests.fidelity $(ARGS)

attack: ## run hostile programs against a platform of their own, judged from the host (ARGS="--family escapes --engine docker")
	@$(SETUP) prepare_tests
	@$(VENV)/python -m attacks $(ARGS)

fuzz: venv ## fuzz what reads a stranger's bytes, guided by coverage (ARGS="--minutes 30 --only frames")
	@$(VENV)/python -m fuzzing $(ARGS)

bench: venv ## measure the running stack over HTTP (ARGS=--quick: fewer runs)
	@$(VENV)/python -m bench $(ARGS)

chaos: ## break every part of a platform of its own while it runs programs (ARGS="--only postgres --runs 50")
	@$(SETUP) prepare_tests
	@$(VENV)/python -m bench.chaos $(ARGS)

load: ## send a platform of its own more than it can do (ARGS="--minutes 2"), then thousands of runs
	@$(SETUP) prepare_tests
	@$(VENV)/python -m bench.overload $(ARGS)
	@$(VENV)/python -m bench.soak --runs 10000

doctor: ## check Docker, gVisor, seccomp, network, limits, database, queue and pool
	@$(SETUP) doctor

host-test: ## boot a Debian 13 guest in QEMU and try all this in it, for hours if emulated (ARGS="--steps boot,system,reboot")
	@$(PYTHON) -m scripts.host_test $(ARGS)

runtime-pages: venv ## describe the built runtimes in sandboxes and write docs/runtimes (ARGS=python: only of one)
	@$(VENV)/python -m scripts.runtime_pages $(ARGS)

client-reference: venv ## write docs/python-reference.md from clients/python
	@PYTHONPATH=clients/python/src $(VENV)/python -m scripts.client_reference

screenshots: venv frontend ## take screenshots of a real platform into docs/screenshots
	@$(SETUP) ensure_browser
	@$(VENV)/python -m scripts.screenshots

release: ## build this version's images and chart from a clean clone, tag them and list them in dist/ (ARGS=--check: twice)
	@$(PYTHON) -m scripts.release $(ARGS)

push: ## push the built images to a registry, for Kubernetes (REGISTRY=host/prefix, TAG=, ONLY="agent runtime-go": docs/kubernetes.md)
	@$(PYTHON) -m scripts.push --registry "$(REGISTRY)" --tag "$(TAG)" --only "$(ONLY)" $(ARGS)

clean: ## remove the stack, its sandboxes and its DATABASE, found by label
	@$(SETUP) clean

dev: venv frontend ## run web, worker, keeper, callbacks and egress as plain processes, with an embedded Postgres in .dev
	@$(VENV)/python -m scripts.dev

lock: ## regenerate requirements*.txt from pyproject.toml, and the Python runtime's packages.txt
	@$(SETUP) lock

lint: venv ## run ruff, mypy and the check of the layers
	@$(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/lint-imports && $(VENV)/mypy .
	@$(VENV)/mypy --config-file clients/python/pyproject.toml -p sandbox_client

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9._-]+:.*## / {printf "  %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
