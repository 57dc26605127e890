# Two commands for newcomers: `make book` builds the site, `make test` checks everything.
# Both create the environment in .venv first, and need only Python 3.11 or newer, pip and make.

PYTHON ?= python3
PYTHON311 ?= python3.11
PYTHON313 ?= python3.13
PORT ?= 8000
BIN := .venv/bin

.PHONY: help book serve test colab lowest lab notebooks lint lock clean

help:
	@echo "make book       build the site into _build/html (installs no torch)"
	@echo "make serve      build it and show it at http://localhost:$(PORT)"
	@echo "make test       run all tests"
	@echo "make colab      run the chapters with Google Colab's versions (Python 3.13, 5.5 GB in .venv-colab)"
	@echo "make lowest     run the chapters with the lowest versions allowed (Python 3.11, 5.5 GB in .venv-lowest)"
	@echo "make lab        open JupyterLab on the chapters"
	@echo "make notebooks  bring the notebooks up to date with their sources"
	@echo "make lint       check style and spelling"
	@echo "make lock       choose new versions within the bounds of pyproject.toml"

book: .venv/book
	@$(BIN)/jupyter-book build . -W -n --keep-going -q
	@echo "Built. Open _build/html/index.html, or run 'make serve' for the live parts."

serve: book
	@echo "http://localhost:$(PORT)  (Ctrl-C stops)"
	@$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

test: .venv/dev
	@$(BIN)/python -m pytest -n 2 --dist worksteal

colab lowest: %: .venv/dev .venv-%/ready
	@$(BIN)/python tools/twin.py .venv-$@/bin/python
	@$(BIN)/python tools/twin.py .venv-$@/bin/python --solved

lab: .venv/dev
	@$(BIN)/jupyter lab --notebook-dir book

notebooks: .venv/dev
	@$(BIN)/python tools/notebooks.py build

lint: .venv/dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell

lock: .venv/dev
	@$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--no-header --no-annotate --quiet --upgrade --output-file requirements/dev.txt
	@$(BIN)/uv pip compile --group book --constraints requirements/dev.txt --universal --python-version 3.11 \
		--no-header --no-annotate --quiet --upgrade --output-file requirements/book.txt
	@$(BIN)/uv pip compile pyproject.toml --group notebooks --group test --resolution lowest-direct --universal \
		--python-version 3.11 --no-header --no-annotate --quiet --upgrade --output-file requirements/lowest.txt

clean:
	rm -rf .venv .venv-colab .venv-lowest _build

# A marker file is written once its packages are in; pip is asked again only when the lock file changes.
.venv/book: requirements/book.txt | .venv/pip
	@echo "Installing what building the site needs ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/dev: requirements/dev.txt pyproject.toml | .venv/pip
	@echo "Installing PyTorch, JupyterLab and the test tools (several minutes on a slow line) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $<
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

.venv-colab/ready: OTHER = $(PYTHON313)
.venv-lowest/ready: OTHER = $(PYTHON311)
.venv-%/ready: requirements/%.txt
	@echo "Installing $< (several minutes on a slow line) ..."
	@$(OTHER) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
