# make serve · make test · make faults · make check · make index · make bench   (each does its own set-up in .venv)
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

.PHONY: help serve test faults check lint index evaluate bench clean
help:            ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python lacks venv; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	@touch $@

serve: $(VENV)/installed        ## install, build the index if needed, serve on http://127.0.0.1:8000
	@$(BIN)/bot serve

index: $(VENV)/installed        ## build the search index if the documents have changed
	$(BIN)/bot index

evaluate: $(VENV)/installed     ## measure the bot on the test split
	$(BIN)/finetune evaluate

test: $(VENV)/installed-dev     ## run the test suite
	$(BIN)/python -m pytest

faults: $(VENV)/installed-dev   ## kill the server, cut its power, take its databases away; DEEP=1 for the long run
	$(BIN)/python -m tests.faults $(if $(DEEP),--deep --report .data/faults.txt)

lint: $(VENV)/installed-dev     ## ruff and pyright
	$(BIN)/ruff check bot finetune tests
	$(BIN)/ruff format --check bot finetune tests
	$(BIN)/pyright

check: lint test                ## lint and test

bench: $(VENV)/installed-dev    ## the server under load, beside this machine's limits
	$(BIN)/python -m tests.bench.load

clean:                          ## remove the environment and the state
	rm -rf $(VENV) .data
