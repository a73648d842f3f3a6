# Two commands do everything from a fresh clone: `make demo` and `make test`.

SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

TEST_JOBS ?= 2

# A newer torch would be pulled in with its GPU packages, several GB of them.
TORCH ?= torch==2.13.0 torchaudio==2.11.0

# One thread per process is fastest for small tensors.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test check lint types docs pytest bench soak lock test-lowest test-latest model clean
.PHONY: help
.NOTPARALLEL:

help:
	@echo "make demo         separate the example mixture with the shipped model into ./separated/"
	@echo "make test         set everything up and run every check"
	@echo "make check        the checks alone: lint types docs pytest"
	@echo "make test-lowest  the fast tests with the lowest versions that pyproject.toml allows"
	@echo "make test-latest  the fast tests with the newest versions of everything but torch"
	@echo "make bench        time and memory, some ten minutes; figures go to docs/performance.md"
	@echo "make lock         renew constraints.txt"
	@echo "make model        render data and train a model like drums-bass into ./runs/; SEED=1"
	@echo "make soak         disturbed commands and damaged inputs, for as long as told; MINUTES=30 SEED=0"
	@echo "make clean        remove the virtual environment and everything built (not separated/)"

# $(call step,NAME,COMMAND): one line with NAME and the seconds that COMMAND took. What it printed is
# in a log; the last 40 lines of it, or the third argument in the words of tail, are shown if it fails.
LOGS := build/log
export TIMEFORMAT := %1R s
define step
@mkdir -p $(LOGS); printf '%-12s ' '$(1)'; { time { ( $(2) ); } >$(LOGS)/$(1).log 2>&1; } 2>&1 || { \
  tail -n $(or $(3),40) $(LOGS)/$(1).log; echo "$(1) failed; its whole output: $(LOGS)/$(1).log"; exit 1; }
endef

# $(call install,FOLDER,EXTRA,OPTIONS OF PIP): the virtual environment FOLDER with lqsep and its EXTRA.
# torch first: its version is then kept by everything that asks for "torch". What builds lqsep is
# installed too, since pip would fetch the newest for an isolated build.
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "lqsep needs Python 3.11 or newer, got $$($(PYTHON) -V); set PYTHON=/path/to/python"; exit 2; }
$(call step,environment,test -e $(1)/bin/python || $(PYTHON) -m venv $(1) && \
  pip="$(1)/bin/python -m pip install --disable-pip-version-check --progress-bar off $(3)" && \
  $$pip $(TORCH) hatchling editables && $$pip $(TORCH) --no-build-isolation --editable '.[$(2)]')
endef

# $(call tests,NAME,PYTHON,OPTIONS OF PYTEST): everything that pytest said if a test fails, or else what
# was skipped, warnings, and the number of tests.
define tests
$(call step,$(1),$(2) -m pytest -n $(TEST_JOBS) --dist loadfile $(3),+1)
@sed -n '/^=.*\( warnings summary \| short test summary \| passed\)/,$$p' $(LOGS)/$(1).log
endef

demo: $(VENV)/.demo
	@TIMEFORMAT='demo         %1R s'; time $(BIN)/python examples/demo.py

test: $(VENV)/.dev debian check

check: lint types docs pytest

lint: $(VENV)/.dev
	$(call step,ruff,$(BIN)/ruff format --check . && $(BIN)/ruff check .)
	$(call step,imports,$(BIN)/lint-imports)

types: $(VENV)/.dev
	$(call step,mypy,$(BIN)/mypy)

# Rooms whose tensor annotations are checked while the tests run.
CHECKED := $(patsubst %,lqsep.core.%,interfaces signal likelihoods inference separation) lqsep.plugins
COMMA := ,
SPACE := $(subst ,, )
SHAPES := $(subst $(SPACE),$(COMMA),$(CHECKED)),annotation_checks.check

pytest: $(VENV)/.dev
	$(call tests,pytest,$(BIN)/python,--jaxtyping-packages=$(SHAPES))

docs: $(VENV)/.dev
	$(call step,sphinx,$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html)

# What needs nothing but lqsep. `python benchmarks/all.py --quick` tries all of it at tiny sizes.
bench: $(VENV)/.dev
	@$(BIN)/python benchmarks/all.py

# FluidSynth and a small soundfont, for the tests of `lqsep data render`. Where they cannot be
# installed those tests say so and are skipped.
FLUIDSYNTH := command -v fluidsynth && test -e /usr/share/sounds/sf2/TimGM6mb.sf2
debian:
	$(call step,fluidsynth,{ $(FLUIDSYNTH); } || { [ "$$(id -u)" = 0 ] && command -v apt-get && \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends fluidsynth timgm6mb-soundfont; \
	  } || true)
	@{ $(FLUIDSYNTH); } >/dev/null || \
	  echo "fluidsynth and timgm6mb-soundfont are not installed: rendering is not tested"
.PHONY: debian

# Not a part of `check`: what lqsep does with kills, full disks and damaged inputs, drawn at random.
MINUTES ?= 30
soak: SEED = 0
soak: $(VENV)/.dev
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --seed $(SEED)

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

$(VENV)/.demo: pyproject.toml constraints.txt
	$(call install,$(VENV),eval,--constraint constraints.txt)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,$(VENV),dev,--constraint constraints.txt)
	@touch $@ $(VENV)/.demo

# Every version anew, but for TORCH. The comments at the top of the file stay.
lock:
	@rm -rf build/lock
	$(call install,build/lock,dev)
	@{ grep '^#' constraints.txt; build/lock/bin/python -m pip --disable-pip-version-check freeze --all \
	  --exclude-editable --exclude pip | sed 's/+.*//'; } >build/constraints.txt
	@mv build/constraints.txt constraints.txt

# The ranges in pyproject.toml, at both ends. Deprecations are listed; annotations are not checked
# while the tests run, which is for those who develop, with the versions that are locked.
FAST := -m 'not slow' -o filterwarnings=default

test-lowest:
	@rm -rf build/lowest && mkdir -p build
	@$(PYTHON) tests/lowest_versions.py test | grep -v '^torch' >build/lowest.txt
	$(call install,build/lowest,test,--constraint build/lowest.txt)
	$(call tests,lowest,build/lowest/bin/python,$(FAST))

test-latest:
	@rm -rf build/latest
	$(call install,build/latest,test)
	$(call tests,latest,build/latest/bin/python,$(FAST))

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
