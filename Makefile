# make cascade [CONFIG=configs/laptop.yaml] [ARGS="key=value …"]    the whole cascade on this machine
# make test | drills | bench | serve | page
# make detector                                                    the optional face detector, for whole photographs

CONFIG ?= configs/laptop.yaml
ARGS ?=
SETTINGS ?= configs/serve-laptop.yaml
RUN ?= runs/laptop
PYTHON := .venv/bin/python
export OMP_NUM_THREADS ?= 1

.PHONY: setup detector cascade test drills bench serve weights page clean

setup: .venv/.ready

.venv/.ready: pyproject.toml
	@echo "[setup] installing into .venv"
	@test -x $(PYTHON) || python3 -m venv .venv
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --editable '.[test]'
	@touch $@

# Without its dependencies: only the networks inside the wheel are used, and it asks for an older numpy.
detector: .venv/.detector

.venv/.detector: .venv/.ready
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --no-deps mediapipe==0.10.21
	@touch $@

cascade: setup
	@$(PYTHON) jobs/submit.py jobs/cascade.py --config $(CONFIG) $(ARGS)

test: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -m "not drill" $(ARGS)

drills: setup
	$(PYTHON) -m pytest -m drill $(ARGS)

bench: setup
	$(PYTHON) -m benchmarks $(ARGS)

serve: setup serve/page/vendor/three.js
	@$(PYTHON) -m serve $(SETTINGS) $(ARGS)

# The small weights that come with the project, from a finished `make cascade`.
weights: setup
	@$(PYTHON) -m jr2net.weights $(RUN)

page: setup
	@$(PYTHON) serve/page/libraries/bundle.py

serve/page/vendor/three.js: serve/page/libraries/package-lock.json serve/page/libraries/three.js | setup
	@$(PYTHON) serve/page/libraries/bundle.py || true

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache
