# Everything runs in an environment of its own, .venv, which the first command makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests that `make test` runs: all of them, or those of T.
T ?=
# Type stubs of TensorRT, for mypy alone: in the environment they would pass for TensorRT itself. Two slips are mended.
STUBS := $(VENV)/stubs
MEND := s/, in: /, in_: /; s/channel_axis: int) -> IScale/channel_axis: int = 0) -> IScale/

.PHONY: help demo test lint format clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/make \1	\2/' | expand -t 16
	@echo 'make test T=tests/core/test_find.py   ruff, mypy, and the tests of one file'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.export: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[export]'
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps 'lvis>=0.5.3'  # it asks for opencv-python, over opencv-python-headless
	rm -rf $(STUBS) && $(BIN)/python -m pip install --quiet --no-deps --target $(STUBS) 'tensorrt-stubs>=10.13'
	cd $(STUBS)/tensorrt_bindings && sed '$(MEND)' tensorrt.pyi >fixed && mv fixed tensorrt.pyi
	touch $@ $(VENV)/.export

demo: $(VENV)/.export  ## the main job: the shipped model, from checkpoint to bundle to pictures in demo/
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh

# mypy sees the package as a user's site-packages would hold it, so the wheel's layout is checked too.
lint: $(VENV)/.test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/python -m pip install --quiet --no-deps --target build/typed .
	cd build/typed && MYPYPATH=$(CURDIR)/$(STUBS) $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package samclip_edge

format: $(VENV)/.test  ## sort imports, mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two workers of one thread: on two cores they wait for each other less than two threads do. Plain pytest is one worker.
test: lint  ## ruff, mypy, and every test; T=FILE for the tests of one file
	OMP_NUM_THREADS=1 $(BIN)/pytest $(if $(T),$(T),--numprocesses 2 --dist loadfile --no-loadscope-reorder) --durations 10

clean:  ## remove the environment, the build and the demo
	rm -rf $(VENV) build demo bench *.egg-info
