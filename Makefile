PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pytest keeps the compiled tests, which takes 5 s of each process otherwise.
PYTEST = PYTHONDONTWRITEBYTECODE= $(BIN)/$(if $(COVERAGE),coverage run -m )pytest
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-exhaustive coverage terraform lint fmt docs image test-image test-orchestration test-oldest-git base-digest release test-live bench checkov install lock clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## A real backup and a real restore on this machine (REPOS=folder: of the git repositories in it)
	@PYTHONPATH=container:tests $(BIN)/python tests/tools/demo.py $(if $(REPOS),--repositories '$(REPOS)')

test: TERRAFORM_TESTS = defaults
test: lint terraform ## Lint, types, terraform, and the tests, without what is exhaustive
	$(PYTEST)

test-all: $(READY) ## All tests, the exhaustive ones too, and the coverage
	@$(BIN)/coverage erase
	@$(MAKE) --no-print-directory test COVERAGE=1
	@$(MAKE) --no-print-directory test-exhaustive COVERAGE=1
	@$(MAKE) --no-print-directory coverage

test-exhaustive: TERRAFORM_TESTS = options vault refusals
test-exhaustive: terraform ## What `make test-all` adds to `make test`
	$(PYTEST) -m 'exhaustive or hypothesis' --hypothesis-profile exhaustive

coverage: $(READY) ## Show what the tests with COVERAGE=1 have covered
	@$(BIN)/coverage combine --quiet
	@echo "Coverage of the package, branches included: $$($(BIN)/coverage report --format=total) % (details: $(BIN)/coverage report)"

terraform: $(READY) ## Format, validate and `terraform test`, against the real provider where a registry is in reach
	@PYTHONPATH=container:tests $(BIN)/python tests/tools/terraform_test.py $(TERRAFORM_TESTS)

lint: $(READY) ## Style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	@PYTHONPATH=container $(BIN)/lint-imports --no-cache
	$(BIN)/shellcheck container/github_s3_backup/git/askpass.sh container/*.sh tests/tools/*.sh .ci/run
	$(BIN)/hadolint container/Dockerfile
	$(BIN)/zizmor --offline --quiet --pedantic .github
	@if command -v actionlint > /dev/null; then actionlint; else echo "actionlint: not installed, so it does not check the workflows here"; fi

fmt: $(READY) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	if command -v terraform > /dev/null; then terraform fmt -recursive; fi

docs: $(READY) ## Write the tables and the diagram, and build the site into build/site
	PYTHONPATH=container:docs:tests $(BIN)/python tests/tools/tables.py
	PYTHONPATH=container:tests $(BIN)/python tests/tools/diagram.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "The site is in build/site: open build/site/index.html"

image: ## Build the image with Docker, Podman, or Buildah (IMAGE=name, PLATFORM=linux/arm64)
	@container/build.sh $(or $(IMAGE),github-backup) $(if $(PLATFORM),--platform $(PLATFORM))

test-image: $(READY) ## Build the image and run it as Fargate would, without a registry and without Docker if need be
	@$(BIN)/pytest -n 0 -s --timeout 900 tests/image/as_fargate.py

test-orchestration: $(READY) ## Run a large backup in many tasks, kill tasks at random, restore every bundle (REPOSITORIES, SHARDS, SEED)
	@$(if $(REPOSITORIES),REPOSITORIES='$(REPOSITORIES)') $(if $(SHARDS),SHARDS='$(SHARDS)') $(if $(SEED),SEED='$(SEED)') \
		$(BIN)/pytest -n 0 -s --timeout 14400 tests/tools/orchestration_at_scale.py

test-oldest-git: $(READY) ## Run the histories of bundles of changes with git 2.30, which apt fetches from Debian's archive
	@tests/tools/oldest_git.sh

base-digest: ## Pin the image's base by the digest that its registry has today
	@container/base_digest.sh --write

release: ## Prepare the commits and the tag of a release (VERSION=1.2.3, then with DIGEST=sha256:... too); pushes nothing
	@$(PYTHON) tests/tools/release.py '$(VERSION)' $(if $(DIGEST),--digest '$(DIGEST)')

test-live: $(READY) ## Deploy into a real AWS account, back up a real organization, restore, destroy (names what it needs)
	@PYTHONPATH=container:tests $(BIN)/python tests/tools/live.py

bench: $(READY) ## Measure a run beside others and beside its lower bounds (SIZES, ROUNDS, FULL, WRITE: see CONTRIBUTING.md)
	@PYTHONPATH=container:tests $(BIN)/python -m bench $(if $(filter-out undefined,$(origin SIZES)),--sizes '$(SIZES)') $(if $(FULL),--full) \
		$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(BENCH_CACHE),--cache '$(BENCH_CACHE)') $(if $(WRITE),--write)

checkov: ## Lint the module with checkov, in an environment of its own (290 MB)
	$(PYTHON) -m venv $(VENV)-checkov
	$(VENV)-checkov/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30
	$(VENV)-checkov/bin/checkov --directory . --framework terraform --skip-download --compact --quiet --skip-path examples --skip-path tests

install: $(READY) ## Make the virtual environment in .venv

$(READY): container/requirements.txt container/pyproject.toml requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable container
	@touch $@

lock: $(READY) ## Pin the newest versions of all dependencies
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url container/requirements.in -o container/requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url -c container/requirements.txt requirements-dev.in -o requirements-dev.txt

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(VENV)-checkov build .mypy_cache .pytest_cache .ruff_cache
