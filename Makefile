# make cascade [CONFIG=configs/laptop.yaml] [ARGS="key=value …"]    run the whole cascade on this machine
# make test | drills | bench | serve | page
# Each target first creates .venv from pyproject.toml and the versions in constraints.txt (make setup).

CONFIG ?= configs/laptop.yaml
ARGS ?=
SETTINGS ?= configs/serve-laptop.yaml
RUN ?= runs/laptop
PYTHON := .venv/bin/python
INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input
DETECTOR := mediapipe==0.10.21
export OMP_NUM_THREADS ?= 1

.PHONY: setup detector cascade test test-clusters test-others drills bench serve weights page clean

setup: .venv/.ready

# MediaPipe's face detector is installed without its dependencies: only the networks inside its wheel are used, and it
# requires an older numpy (the conflict that pip would warn about). If it cannot be installed (no network, no wheel for
# this platform or Python), everything works with the package's own detector but imports of clips without landmarks.
.venv/.ready: pyproject.toml constraints.txt
	@echo "[setup] 1/3 making .venv, an environment of its own"
	@test -x $(PYTHON) || python3 -m venv .venv
	@echo "[setup] 2/3 installing PyTorch, Ray and what else pyproject.toml names: some gigabytes, 3 to 15 minutes without output"
	@$(INSTALL) --no-warn-conflicts --constraint constraints.txt --editable '.[cluster,serve,test]'
	@echo "[setup] 3/3 installing MediaPipe's face detector"
	@$(INSTALL) --no-deps $(DETECTOR) || echo "[setup] MediaPipe's face detector was not installed; to try again: make detector"
	@echo "[setup] done; it is not repeated until pyproject.toml or constraints.txt change"
	@touch $@

detector: setup
	@$(INSTALL) --no-deps $(DETECTOR)

cascade: setup
	@$(PYTHON) jobs/submit.py jobs/cascade.py --config $(CONFIG) $(ARGS)

test: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
ifdef ARGS
	$(PYTHON) -m pytest -m "not drill" $(ARGS)
else
	@$(MAKE) --no-print-directory -j 2 test-clusters test-others
endif

# The tests that start clusters and workers, one after the other, and beside them all others.
CLUSTERS := tests/cluster tests/jobs tests/serve tests/training

test-clusters: setup
	$(PYTHON) -m pytest -m "not drill" -p no:cacheprovider $(CLUSTERS)

test-others: setup
	$(PYTHON) -m pytest -m "not drill" -p no:cacheprovider tests $(CLUSTERS:%=--ignore=%)

drills: setup
	$(PYTHON) -m pytest -m drill $(ARGS)

bench: setup
	$(PYTHON) -m benchmarks $(ARGS)

serve: setup serve/page/vendor/three.js
	@$(PYTHON) -m serve $(SETTINGS) $(ARGS)

# Copies the weights of a finished `make cascade` into the package.
weights: setup
	@$(PYTHON) -m jr2net.weights $(RUN)

page: setup
	@$(PYTHON) serve/page/libraries/bundle.py

serve/page/vendor/three.js: serve/page/libraries/package-lock.json serve/page/libraries/three.js | setup
	@$(PYTHON) serve/page/libraries/bundle.py || true

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
