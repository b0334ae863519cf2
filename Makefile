# The front door. Every target works alone on a fresh clone: Python 3.11, make and a C toolchain
# are all it needs.

PYTHON ?= python3.11
BIN := .venv/bin
CHECKPOINTS := pocket/weights
# Tests of real servers and of measurements, which have the machine to themselves.
ALONE := tests/benchmarks tests/integration
# To serve and to look at pictures, no torch is needed; where everything is installed, that will do.
SERVING := $(if $(wildcard .venv/installed),.venv/installed,.venv/serving)

.PHONY: help demo serve test bench check format export generated clean

help:  ## List the targets.
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

.venv/installed: EXTRA := dev
.venv/serving: EXTRA := demo
.venv/installed .venv/serving: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA)]'
	touch $@

demo: $(SERVING)  ## Cut a cup out of a photo and shoot it.
	$(BIN)/python examples/coffee.py --repository model_repository --output demo

serve: $(SERVING)  ## Serve the default family.
	$(BIN)/packshot serve

test: .venv/installed  ## Run every test.
	$(BIN)/python -m tests.families; families=$$?; \
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(addprefix --ignore=,$(ALONE)); light=$$?; \
	$(BIN)/pytest $(ALONE) && exit $$((families || light))

bench: .venv/installed  ## Measure packshot and what one would use instead, 15 minutes; hold it against our run.
	$(BIN)/packshot bench run --output build/bench.json
	$(BIN)/packshot bench plot build/bench.json --output build/plots
	$(BIN)/packshot bench compare benchmarks/results/quick.json build/bench.json

check: .venv/installed  ## Lint, types, and whether generated files are up to date.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m packshot_serving.generated --check
	$(BIN)/python -m packshot_bench.readme --check

format: .venv/installed  ## Format the code.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

export: .venv/installed  ## Export the default family again.
	$(BIN)/packshot export --name pocket --repository model_repository \
	  --diffusion $(CHECKPOINTS)/diffusion --controlnet $(CHECKPOINTS)/controlnet --sam $(CHECKPOINTS)/sam

generated: .venv/installed  ## Write the files that are derived from the contract and from results.
	$(BIN)/python -m packshot_serving.generated
	$(BIN)/python -m packshot_bench.readme
	$(BIN)/packshot bench plot benchmarks/results/bench.json --output benchmarks/results/plots

clean:  ## Remove everything that a target made.
	git clean -fdX
