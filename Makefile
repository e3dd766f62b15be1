# Every target makes .venv and installs what it needs. CI calls the same targets (.ci/run).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CKPT := models/zoo/lifeiqa-lite0/lifeiqa-lite0.pt

.PHONY: demo test lint typecheck bench tables fuzz parity behaviour docs captures self-test conformance check-all clean

demo: $(VENV)/.export
	$(BIN)/lifeiqa-export --ckpt $(CKPT) -o demo --target onnx --force
	$(BIN)/python benchmarks/parity.py demo/lifeiqa-lite0.onnx runtime/zoo/lifeiqa-lite0.onnx
	$(BIN)/python benchmarks/demo_pictures.py demo/pictures
	$(BIN)/lifeiqa-run --model demo/lifeiqa-lite0.onnx --format table demo/pictures

test: $(VENV)/.dev
	$(BIN)/pytest -n 4 --dist worksteal

# Fails where figures are worse or better than in benchmarks/results/parity.json: make parity UPDATE=--update writes it.
parity: $(VENV)/.dev
	$(BIN)/python benchmarks/parity.py $(UPDATE)

# What people expect of a score, of the packaged model. The limits: benchmarks/behaviour_limits.py.
behaviour: $(VENV)/.dev
	$(BIN)/python benchmarks/behaviour.py $(SHORT)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy does not follow the mapping of folders to packages from the source tree, so it checks an installed copy.
typecheck: $(VENV)/.dev
	rm -rf build/typecheck build/lib build/bdist.*
	$(BIN)/pip install -q --no-deps --target build/typecheck .
	MYPYPATH=build/typecheck $(BIN)/mypy -p lifeiqa

# Thousands of damaged files: none may crash its decoder or take long.
fuzz: $(VENV)/.dev
	$(BIN)/python benchmarks/fuzz.py

# Half an hour. Contenders of other projects take part where they are installed: pip install nncf pyiqa brisque iqa-torch
# Results to commit, and the tables of README and the documentation: make bench tables RESULTS=benchmarks/results
RESULTS ?= build/bench
MEASURED := $(addprefix $(RESULTS)/,agreement.json end_to_end.json latency.json)
bench: $(VENV)/.dev
	mkdir -p build/bench $(RESULTS)
	$(BIN)/python benchmarks/agreement.py --json $(RESULTS)/agreement.json
	$(BIN)/python benchmarks/end_to_end.py --json $(RESULTS)/end_to_end.json
	$(BIN)/python benchmarks/latency.py --json $(RESULTS)/latency.json
	$(BIN)/python benchmarks/report.py $(MEASURED) $(wildcard $(RESULTS)/people.*.json) -o build/bench/report.html

# Writes the tables that come from benchmarks/results into README and the documentation.
tables: $(VENV)/.docs
	$(BIN)/python docs/result_tables.py

# Material warns of MkDocs 2, which it does not use.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Runs every command that README and tutorials show, and writes what it prints into docs/captures and README.
captures: $(VENV)/.dev $(VENV)/.docs
	$(BIN)/python docs/captures.py $(ONLY)

# The packaged model on every engine that is here, against what is stored of it.
self-test: $(VENV)/.dev
	$(BIN)/python benchmarks/self_test.py

# The stored crops against PyTorch, and the packaged model against them.
conformance: $(VENV)/.dev
	$(BIN)/python benchmarks/conformance_set.py
	$(BIN)/lifeiqa-conformance

# Before a release. CI runs all of it, but of the captures only a few. Captures change files of the repository.
check-all: lint typecheck docs self-test conformance parity behaviour test
	$(BIN)/python docs/captures.py --slow

clean:
	rm -rf $(VENV) build demo *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.export: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[export]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[export,train,dev,docs]'
	touch $@ $(VENV)/.export $(VENV)/.docs

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q -e '.[cpu,docs]'
	touch $@
