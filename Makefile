# The whole manual. Nothing is assumed but Python 3.11 or newer with venv, and make; nothing here needs root.

SHELL   := /bin/sh
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PY      := $(BIN)/python
ARGS    ?=

# what is compiled once is kept: without that each of the hundreds of servers that tests start takes a second longer
export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:
.PHONY: help run test lint check slow attack soak bench console film filters frameworks docs proof lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## set up, then serve on http://127.0.0.1:8750
	@exec $(BIN)/superagent up $(ARGS)

# what is long: each has its own target, and CI runs a share of it after the everyday tests
EVERYDAY := not slow and not soak and not attack and not bench

test: $(VENV)/dev.stamp ## set up, then every everyday test that can run here; coverage must hold
	@$(PY) -m pytest --numprocesses 2 -m "$(EVERYDAY)" --cov --cov-report term $(ARGS)

slow: $(VENV)/dev.stamp ## the tests that take longer than about three seconds
	@$(PY) -m pytest --numprocesses 2 -m "slow and not soak and not attack and not bench" $(ARGS)

lint: $(VENV)/dev.stamp ## format, lint, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo

check: lint ## the same, and the fast tests
	@$(PY) -m pytest --quiet --numprocesses 2 -m "$(EVERYDAY)" $(ARGS)

attack: $(VENV)/dev.stamp ## long adversarial tests
	@$(PY) -m pytest -m attack --timeout 3600 $(ARGS)

soak: $(VENV)/dev.stamp ## hours of load, crashes and restarts
	@$(PY) -m pytest -m soak --timeout 14400 $(ARGS)

agentdojo: $(VENV)/dev.stamp build/agentdojo ## replay AgentDojo's attacks whole (290 MB of packages at first), and keep the figures
	@$(PY) -m bench.agentdojo --out bench/agentdojo/result.json $(ARGS)

build/agentdojo:
	@$(PY) -m pip install --quiet --disable-pip-version-check --target $@ agentdojo==0.1.35

frameworks: $(VENV)/uv.stamp ## install frameworks of agents beside, each in a place of its own; then `make test` tries them too
	@$(call framework,langgraph,langchain-mcp-adapters==0.3.2)
	@$(call framework,openai_agents,openai-agents==0.24.0)
	@$(call framework,pydantic_ai,pydantic-ai-slim[mcp]==2.68.0)

framework = test -x build/frameworks/$(1)/bin/python || { $(PYTHON) -m venv build/frameworks/$(1) \
	&& build/frameworks/$(1)/bin/python -m pip install --quiet --disable-pip-version-check '$(2)'; }

bench: $(VENV)/dev.stamp ## measure against bare servers on this machine; keeps bench/history
	@$(PY) -m bench $(ARGS)

console: $(VENV)/run.stamp ## build the console (`console/`) into the package; done by set-up where there is npm
	@$(PY) console/build_hook.py

film: $(VENV)/run.stamp ## play the story of the README with real parts: MCP client, PostgreSQL, sandbox, Chromium, passkey
	@$(PY) -m film $(ARGS)

filters: $(VENV)/dev.stamp ## build the sandbox's system call filters anew from their table
	@$(PY) -m superagent.runtime.sandbox.filters.build

docs: $(VENV)/dev.stamp ## write the pages that are generated from the code
	@$(PY) -m docs.build $(ARGS)

proof: $(VENV)/dev.stamp ## print what is promised, by which tests, against what, with which figure
	@$(PY) -m docs.proof $(ARGS)

lock: $(VENV)/uv.stamp ## pin requirements/*.txt anew (`make lock ARGS=--upgrade` takes newer versions)
	@test -x $(BIN)/uv || { echo "make lock needs uv, which could not be installed here" >&2; exit 1; }
	@$(call pin,build) requirements/build.in
	@$(call pin,uv) requirements/uv.in
	@$(call pin,run) --constraint requirements/build.txt --extra all pyproject.toml
	@$(call pin,dev) --constraint requirements/run.txt --group dev

clean: ## remove what set-up and tests left behind
	@rm -rf $(VENV) build dist .coverage .coverage.* .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# --- set-up: each stamp is newer than what it was made from, so a second start does nothing ------------------------

# no index address and no host name may get into the pinned files: they are to be installed from any index
pin = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet $(CERTIFICATES) --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate $(ARGS) --output-file requirements/$(1).txt

# pip knows settings and certificates that uv does not: it is the second try, and the only one where there is no uv
CERTIFICATES := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt),--system-certs)
install = { test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --compile-bytecode $(CERTIFICATES) --python $(PY) --require-hashes $(1); } \
	|| $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(1)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "hint: Debian and Ubuntu keep venv apart: apt install python3-venv" >&2; exit 1; }

$(VENV)/uv.stamp: requirements/uv.txt | $(PY)
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null
	@$(PY) -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/uv.txt \
		|| echo "uv could not be installed; pip goes on without it, slower" >&2
	@touch $@

$(VENV)/run.stamp: requirements/build.txt requirements/run.txt pyproject.toml $(VENV)/uv.stamp
	@echo "installing what Super-Agent needs into $(VENV): this takes about a minute, this time only"
	@$(call install,-r requirements/build.txt -r requirements/run.txt)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	@echo "installing what the tests need into $(VENV)"
	@$(call install,-r requirements/dev.txt)
	@touch $@
