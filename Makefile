# Two commands for newcomers: `make demo` and `make test`. Each makes or reuses .venv and installs what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# On up to four cores (a process with all extras takes 3 GB); `make test PYTEST_FLAGS=` is one process.
PYTEST_FLAGS ?= -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-all test-oldest lint docs typeview clean

demo: $(VENV)/.demo
	$(BIN)/rsrag demo

test: $(VENV)/.test
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

# The suite on every extra but OpenVINO (torch, transformers, a Qdrant client, PostgreSQL driver): gigabytes of downloads.
test-all: $(VENV)-all/.all
	$(VENV)-all/bin/python -m pytest $(PYTEST_FLAGS)

# The suite on the oldest versions that pyproject.toml allows.
test-oldest: $(VENV)-oldest/.oldest
	$(VENV)-oldest/bin/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.test typeview
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.test
	$(BIN)/python scripts/cli_reference.py

# mypy cannot follow the package-dir map of pyproject.toml: it gets a tree of links that looks like the installed package.
typeview:
	rm -rf typeview && mkdir -p typeview/rsrag
	for item in rsrag/*; do ln -s ../../$$item typeview/rsrag/; done
	for room in ingest indexes prompts eval; do ln -s ../../$$room typeview/rsrag/$$room; done

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,test]'
	touch $@

$(VENV)-all/.all: pyproject.toml
	$(PYTHON) -m venv $(VENV)-all
	$(VENV)-all/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[all,test]'
	touch $@

$(VENV)-oldest/.oldest: pyproject.toml
	$(PYTHON) -m venv $(VENV)-oldest
	$(VENV)-oldest/bin/python scripts/oldest_versions.py > $(VENV)-oldest/constraints.txt
	$(VENV)-oldest/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(VENV)-oldest/constraints.txt --editable '.[demo,test]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-all $(VENV)-oldest typeview build *.egg-info .pytest_cache .mypy_cache .ruff_cache
