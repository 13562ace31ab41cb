# Everything runs in an environment of its own, .venv, which the first command makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tests that `make test` runs: all of them, or those of T.
T ?=
# Type stubs of TensorRT, for mypy alone: in the environment they would pass for TensorRT itself. Two slips are mended.
STUBS := $(VENV)/stubs
MEND := s/, in: /, in_: /; s/channel_axis: int) -> IScale/channel_axis: int = 0) -> IScale/
# The native library: its sanitizers (address,undefined or thread), and a build folder for each.
SANITIZE ?=
comma := ,
NATIVE := build/native$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))
CMAKE := cmake -G Ninja -S runtimes/native -DCMAKE_COMPILE_WARNING_AS_ERROR=ON
# What a Python that loads such a library has to load first. Leaks are found in the programs, which Python is not.
runtime_of = $$(c++ -print-file-name=lib$(1).so)
SANITIZED := $(if $(SANITIZE),ASAN_OPTIONS=detect_leaks=0 TSAN_OPTIONS=ignore_noninstrumented_modules=1 \
	LD_PRELOAD="$(call runtime_of,$(if $(filter thread,$(SANITIZE)),tsan,asan)) $(call runtime_of,stdc++)")
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc)

.PHONY: help demo test lint format native test-native test-native-aarch64 fuzz-native test-android web wheel test-web clean

help:  ## say what there is
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):.*## (.*)/make \1	\2/' | expand -t 26
	@echo 'make test T=tests/core/test_find.py   ruff, mypy, and the tests of one file'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.export: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[export]'
	touch $@ $(VENV)/.run

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps 'lvis>=0.5.3'  # it asks for opencv-python, over opencv-python-headless
	$(BIN)/python -m pip install --quiet --editable '.[litert]'  # its xdsl asks for an old typing-extensions
	$(BIN)/python -m pip install --quiet --upgrade pydantic 'typing-extensions>=4.14'  # mypy does not take an older one
	rm -rf $(STUBS) && $(BIN)/python -m pip install --quiet --no-deps --target $(STUBS) 'tensorrt-stubs>=10.13'
	cd $(STUBS)/tensorrt_bindings && sed '$(MEND)' tensorrt.pyi >fixed && mv fixed tensorrt.pyi
	touch $@ $(VENV)/.export $(VENV)/.run

demo: $(VENV)/.export  ## the main job: the shipped model, from checkpoint to bundle to pictures in demo/
	PATH="$(CURDIR)/$(BIN):$$PATH" sh docs/demo.sh

# mypy sees the package as a user's site-packages would hold it, so the wheel's layout is checked too.
lint: $(VENV)/.test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/typed build/lib build/bdist.* && $(BIN)/python -m pip install --quiet --no-deps --target build/typed .
	cd build/typed && MYPYPATH=$(CURDIR)/$(STUBS) $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package samclip_edge

format: $(VENV)/.test  ## sort imports, mend what ruff can mend, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Two workers of one thread: on two cores they wait for each other less than two threads do. Plain pytest is one worker.
test: lint  ## ruff, mypy, and every test; T=FILE for the tests of one file
	OMP_NUM_THREADS=1 $(BIN)/pytest $(if $(T),$(T),--numprocesses 2 --dist loadfile --no-loadscope-reorder) --durations 10

native: $(VENV)/.export  ## the native library, in build/native
	sh runtimes/native/tools/prepare.sh
	$(CMAKE) -B $(NATIVE) -DONNXRUNTIME_ROOT=$(CURDIR)/build/onnxruntime \
		-DCMAKE_BUILD_TYPE=$(if $(SANITIZE),RelWithDebInfo,Release) -DSAMCLIP_EDGE_SANITIZE=$(SANITIZE)
	cmake --build $(NATIVE)

# Bundles with Python's answers, for the runtimes in other languages.
build/vectors/.made: $(VENV)/.test $(wildcard $(shell git ls-files samclip_edge export tests/vector_bundles.py))
	$(BIN)/python tests/vector_bundles.py build/vectors
	touch $@

test-native: $(VENV)/.test native build/vectors/.made  ## its tests; SANITIZE=address,undefined or SANITIZE=thread
	$(CMAKE) -B $(NATIVE) -DSAMCLIP_EDGE_TESTS=ON
	cmake --build $(NATIVE)
	ctest --test-dir $(NATIVE) --output-on-failure
	$(SANITIZED) OMP_NUM_THREADS=1 SAMCLIP_EDGE_NATIVE_BUILD=$(CURDIR)/$(NATIVE) $(BIN)/pytest runtimes/native/tests

test-native-aarch64: $(VENV)/.test native  ## build it for 64-bit ARM, and run its tests under QEMU, int8 among them
	sh runtimes/native/tools/prepare.sh aarch64
	$(CMAKE) -B build/native-aarch64 -DONNXRUNTIME_ROOT=$(CURDIR)/build/aarch64/onnxruntime -DSAMCLIP_EDGE_TESTS=ON \
		-DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DCMAKE_FIND_ROOT_PATH=$(CURDIR)/build/aarch64
	cmake --build build/native-aarch64
	ctest --test-dir build/native-aarch64 --output-on-failure
	SAMCLIP_EDGE_NATIVE_BUILD=$(CURDIR)/$(NATIVE) $(BIN)/pytest runtimes/native/tests/aarch64/test_aarch64.py

# The library's readers and questions, fed with any bytes, under the sanitizers: each fuzzer for so many seconds.
FUZZERS ?= all
SECONDS := 600
fuzz-native: $(VENV)/.test  ## fuzz the native library; FUZZERS="fuzz_rle fuzz_text" SECONDS=600 each
	sh runtimes/native/tools/prepare.sh fuzz
	$(CMAKE) -B build/native-fuzz -DONNXRUNTIME_ROOT=$(CURDIR)/build/onnxruntime -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DSAMCLIP_EDGE_SANITIZE=address,undefined \
		-DSAMCLIP_EDGE_FUZZ=ON -DSAMCLIP_EDGE_CLI=OFF
	cmake --build build/native-fuzz
	$(BIN)/python runtimes/native/tests/fuzz.py build/native-fuzz $(SECONDS) $(FUZZERS)

test-android: native  ## its Java classes on this machine's Java, held against Python's answers
	sh runtimes/android/src/test/run.sh $(BIN)/python $(NATIVE)

runtimes/web/node_modules/.made: runtimes/web/package-lock.json
	cd runtimes/web && npm ci --no-audit --no-fund
	touch $@

web: $(VENV)/.run runtimes/web/node_modules/.made  ## the page that `samclip-edge web` serves, and its package; it needs Node.js 20
	cd runtimes/web && npm run build && npm run page

wheel: web  ## the package as a wheel, with the page in it, in build/wheel
	rm -rf build/lib build/bdist.* && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .

test-web: $(VENV)/.test web build/vectors/.made  ## its answers against this package's; the page in Chromium and in WebKit
	sh runtimes/web/tools/prepare.sh
	$(BIN)/python runtimes/web/tests/references.py build/web
	cd runtimes/web && npm run check && npm test

clean:  ## remove the environment, the build and the demo
	rm -rf $(VENV) build demo bench *.egg-info
