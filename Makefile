# make demo: an environment of its own, then a merged model from checkpoint to picture.
# make test: the same environment plus the references, then ruff, mypy and the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Of TensorRT, for mypy alone: in the environment they would pass for TensorRT itself. Two slips in them are mended.
STUBS := $(VENV)/stubs
MEND := s/, in: /, in_: /; s/channel_axis: int) -> IScale/channel_axis: int = 0) -> IScale/

.PHONY: demo test lint clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.export: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[export]'
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	rm -rf $(STUBS) && $(BIN)/python -m pip install --quiet --no-deps --target $(STUBS) 'tensorrt-stubs>=10.13'
	cd $(STUBS)/tensorrt_bindings && sed '$(MEND)' tensorrt.pyi >fixed && mv fixed tensorrt.pyi
	touch $@ $(VENV)/.export

demo: $(VENV)/.export
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh

# mypy sees the package as a user's site-packages would hold it, so the wheel's layout is checked too.
lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build && $(BIN)/python -m pip install --quiet --no-deps --target build/typed .
	cd build/typed && MYPYPATH=$(CURDIR)/$(STUBS) $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package samclip_edge

# Two workers of one thread: on two cores they wait for each other less than two threads do. Plain pytest is one worker.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

clean:
	rm -rf $(VENV) build demo *.egg-info
