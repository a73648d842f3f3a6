# Two commands do everything from a fresh clone: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

TEST_JOBS ?= 2

# One thread per process is fastest for small tensors.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check lint types docs pytest model clean help

help:
	@echo "make demo    separate the example mixture with the shipped model into ./separated/"
	@echo "make test    set everything up and run every check"
	@echo "make check   the checks alone: lint types pytest docs"
	@echo "make model   render data and train a model like drums-bass into ./runs/; SEED=1"
	@echo "make clean   remove the virtual environment and everything built (not separated/)"

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev debian check

check: lint types pytest docs

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

# Rooms whose tensor annotations are checked while the tests run.
CHECKED := $(patsubst %,lqsep.core.%,interfaces signal likelihoods inference separation) lqsep.plugins
COMMA := ,
SPACE := $(subst ,, )
SHAPES := $(subst $(SPACE),$(COMMA),$(CHECKED)),beartype.beartype

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile --jaxtyping-packages=$(SHAPES)

docs: $(VENV)/.dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# FluidSynth and a small soundfont, for the tests of `lqsep data render`. Where they cannot be
# installed those tests say so and are skipped.
debian:
	@command -v fluidsynth >/dev/null && test -e /usr/share/sounds/sf2/TimGM6mb.sf2 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq >/dev/null && \
	    apt-get install -y -qq --no-install-recommends fluidsynth timgm6mb-soundfont >/dev/null; } || \
	  echo "fluidsynth and timgm6mb-soundfont are not installed: rendering is not tested"
.PHONY: debian

# The shipped model's recipe, from nothing to a model: rendered music, then a codec and priors. What
# is complete is kept; RENDER_JOBS tracks are rendered at a time.
SEED ?= 1
TRACKS ?= 300
RENDER_JOBS ?= 2
RUN := runs/drums-bass-$(SEED)
RECIPE := examples/configs/drums-bass-spectral.toml
# Paths in a configuration start at its folder.
RECIPE_DATA := -p data.train.root=../../$(RUN)/data -p data.validation.root=../../$(RUN)/data
SOUNDFONTS := $(addprefix /usr/share/sounds/sf2/,FluidR3_GM.sf2 MuseScore_General_Full.sf2 sf_GMbank.sf2)

model: $(RUN)/model/prior.bass.safetensors

$(RUN)/data/.complete-$(TRACKS): | $(VENV)/.dev soundfonts
	$(BIN)/lqsep data render -o $(RUN)/data --tracks $(TRACKS) --validation 12 --test 12 --seed $(SEED) \
	  --sample-rate 22050 --mono $(SOUNDFONTS:%=--soundfont %) --modelled 0.3 --hold-out-kits 16,25 \
	  --hold-out-programs 34,38 --hold-out-genres soul,blues-shuffle,bossa-nova -j $(RENDER_JOBS)
	@touch $@

$(RUN)/model/codec.safetensors: $(RUN)/data/.complete-$(TRACKS)
	$(BIN)/lqsep train codec --config $(RECIPE) $(RECIPE_DATA) --seed $(SEED) -o $(@D)

$(RUN)/model/prior.bass.safetensors: $(RUN)/model/codec.safetensors
	$(BIN)/lqsep train prior --config $(RECIPE) $(RECIPE_DATA) --seed $(SEED) -o $(@D)

# MIT (FluidR3; MuseScore General, parts CC0) and public domain (the bank of Csound).
soundfonts:
	@command -v fluidsynth >/dev/null && ls $(SOUNDFONTS) >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq >/dev/null && apt-get install -y -qq \
	    --no-install-recommends fluidsynth fluid-soundfont-gm musescore-general-soundfont-lossless \
	    csound-soundfont >/dev/null; } || { echo "make model: install the Debian packages fluidsynth," \
	    "fluid-soundfont-gm, musescore-general-soundfont-lossless and csound-soundfont."; exit 2; }
.PHONY: soundfonts

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lqsep needs Python 3.11 or newer, got $$($(PYTHON) -V); set PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first: its pinned version is then kept by everything that asks for "torch".
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable '.[eval]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
