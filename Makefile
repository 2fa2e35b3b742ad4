# What one does with a checkout of kvmdecl. `make help` lists it; each target does its own set-up.

VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST_ARGS ?= -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test proofs pages chaos chaos-short check bench fidelity site lock help-texts schemas clean \
        system-demo system-test system-pages system-acceptance system-bench

help:  ## list what there is
	@echo "make demo | test | bench install what they need: Debian or Ubuntu packages (sudo may ask) and $(VENV)."
	@awk -F ':.*## ' '/^[a-z-]*:.*## /{ printf "    make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: system-demo $(READY)  ## three hosts on this machine: plan, apply, change a running guest, take it all down
	@PATH="$(abspath $(BIN)):$$PATH" scripts/demo.sh

test: system-test $(READY)  ## everything that must hold before a change lands: checks, then all tests
	$(MAKE) --no-print-directory check
	$(BIN)/pytest $(PYTEST_ARGS)

proofs: system-test $(READY)  ## the tests that take minutes: each kind of change on a running guest, random edits, ends at any call
	$(BIN)/pytest -m proof

chaos-short: system-test $(READY)  ## runs and daemons killed on the way, races for locks, faults on simulated hosts: half an hour
	$(BIN)/python -m tests.chaos short

pages: system-pages $(READY)  ## the commands of README, docs/ and docs/ci/, as they stand there, on a lab: three minutes; and the site
	$(BIN)/pytest -q $(PYTEST_ARGS) -m proof tests/project/test_shell_blocks.py tests/project/test_ci_files.py
	$(MAKE) --no-print-directory site

chaos: system-test $(READY)  ## ten times as much of that: a night; called again, it goes on where it ended
	$(BIN)/python -m tests.chaos long --done .chaos-done

acceptance: system-acceptance $(READY)  ## a Pacemaker cluster that loses a host; a whole machine with an IOMMU, whose kernel judges what is passed on
	KVMDECL_REQUIRE_LAB=1 $(BIN)/pytest -m acceptance

check: $(READY)  ## format, lint, types, import layers
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: system-bench $(READY)  ## measure what was promised about speed; fails where it is missed
	$(BIN)/python -m benchmarks

fidelity: system-test $(READY)  ## put definitions, of CORPUS=FOLDER if given, to a real libvirtd, spelt anew and changed behind our back
	$(BIN)/python -m tests.fidelity $(CORPUS)

site: $(READY)  ## docs/ as a site, in dist/site; a link that leads nowhere or a page that none leads to fails
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/site.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

screenshots: system-screenshots $(READY)  ## take the pictures of docs/ anew, with a Chromium that must neither complain nor ask for anything
	$(BIN)/python -m scripts.screenshots

lock: $(READY)  ## find new versions for requirements/*.txt
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --output-file requirements/run.txt $(LOCK_OPTIONS)
	$(BIN)/uv pip compile pyproject.toml --group dev --output-file requirements/dev.txt $(LOCK_OPTIONS)
	$(BIN)/uv pip compile --group site --constraint requirements/dev.txt --output-file requirements/site.txt $(LOCK_OPTIONS)

LOCK_OPTIONS = --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help-texts: $(READY)  ## render the answers to --help again, docs/cli.md and the man pages
	$(BIN)/python -m kvmdecl.cli.help_texts
	$(BIN)/python scripts/cli_reference.py

schemas: $(READY)  ## write schemas/ and docs/manifest.md again from the models
	$(BIN)/kvmdecl schema manifest --output schemas/cluster.v1.json
	$(BIN)/kvmdecl schema plan --output schemas/plan.v1.json
	$(BIN)/kvmdecl schema drift --output schemas/drift.v1.json
	$(BIN)/kvmdecl schema map --output schemas/map.v1.json
	$(BIN)/kvmdecl schema capacity --output schemas/capacity.v1.json
	$(BIN)/kvmdecl schema survival --output schemas/survival.v1.json
	$(BIN)/kvmdecl schema advice --output schemas/advice.v1.json
	$(BIN)/kvmdecl schema consents --output schemas/consents.v1.json
	$(BIN)/kvmdecl schema policies --output schemas/policies.v1.json
	$(BIN)/kvmdecl schema devices --output schemas/devices.v1.json
	$(BIN)/kvmdecl schema events --output schemas/events.v1.json
	$(BIN)/kvmdecl schema notices --output schemas/notices.v1.json
	$(BIN)/kvmdecl schema history --output schemas/history.v1.json
	$(BIN)/kvmdecl schema chain --output schemas/chain.v1.json
	$(BIN)/kvmdecl schema ha --output schemas/ha.v1.json
	$(BIN)/kvmdecl schema ha-status --output schemas/ha-status.v1.json
	$(BIN)/kvmdecl schema doctor --output schemas/doctor.v1.json
	$(BIN)/python scripts/manifest_reference.py
	$(BIN)/python scripts/rules_reference.py

clean:  ## remove what the other targets made here
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system-demo system-test system-pages system-acceptance system-bench system-screenshots: system-%:
	@scripts/system-packages.sh $*

# libvirt-python is built here, so the system's packages come first.
$(READY): requirements/dev.txt pyproject.toml | system-demo
	@[ -x $(BIN)/python ] || "$$(scripts/find-python.sh)" -m venv $(VENV)
	@echo "Installing requirements/dev.txt and kvmdecl itself into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
