# make          install what is missing, build build/mayfly (release)
# make demo     … and run the main job on real input: deploy three real models, call them, run code of four clouds, stop
# make test     … build with sanitizers, run every test
# make faults   … faults of a whole node, with what waits for minutes, against the release build (tests/faults)
# make tsan     … the same tests with the thread sanitizer
# make bench    … measure the promised numbers against their floors (bench/run.py)
# make clean    remove what was built, keep what was fetched
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: all setup venv demo test faults bench tsan clean models
PYTHON := build/venv/bin/python
# As many compilers as processors: ninja's own default, two more, takes a tenth longer (each maps 100 MB of precompiled headers).
JOBS := --parallel $(shell nproc)

all: setup
	@echo "make: building build/mayfly (release)"
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build build $(JOBS) --target mayfly

setup:
	@tools/setup.sh

venv: setup
	@tools/venv.sh

models: venv
	@$(PYTHON) examples/get_models.py fraud photos sentences

demo: all models
	@$(PYTHON) examples/demo.py --mayfly build/mayfly

test: all venv
	@echo "make: building the tests (with address and undefined-behaviour sanitizers)"
	@cmake --preset dev >build/configure-dev.log 2>&1 || { cat build/configure-dev.log; exit 1; }
	@cmake --build build/dev $(JOBS)
	@$(PYTHON) tests/models/make_models.py build/test-models
	@ctest --test-dir build/dev --output-on-failure
	@$(PYTHON) examples/get_models.py fraud
	@echo "make: memory after 1,000 cycles of load, infer and unload, in the release build"
	@$(PYTHON) tests/faults/cycles.py --mayfly build/mayfly
	@echo "make: calls for more memory than there is, which a sanitizer would end, in the release build"
	@$(PYTHON) tests/faults/run.py --mayfly build/mayfly a_call_that_allocates
	@echo "make: models larger than their memory, whose limit a sanitizer would not keep to, in the release build"
	@$(PYTHON) tests/faults/run.py --mayfly build/mayfly larger_than fit_beside
	@echo "make: smaller models and their gate, against the release build"
	@$(PYTHON) examples/get_models.py sentences
	@$(PYTHON) tests/optimize/run.py --mayfly build/mayfly
	@$(PYTHON) tests/optimize/pictures.py --mayfly build/mayfly
	@$(PYTHON) tests/optimize/recorded.py --mayfly build/mayfly
	@$(PYTHON) tests/optimize/deploy.py --mayfly build/mayfly
	@echo "make: forks of code with numpy and onnxruntime"
	@python3 tests/code/fork.py --packages --mayfly build/mayfly numpy
	@echo "make: an image classifier in Python, with numpy and onnxruntime installed at deploy, on real photographs"
	@$(PYTHON) examples/get_models.py photos
	@$(PYTHON) tests/code/classifier.py --mayfly build/mayfly
	@echo "make: tritonclient and boto3 as the real clients, against the release build"
	@$(PYTHON) tests/clients/test_tritonclient.py --mayfly build/mayfly
	@$(PYTHON) tests/clients/test_boto3.py --mayfly build/mayfly
	@echo "make: function URLs by boto3 and botocore's signer, against the release build"
	@$(PYTHON) tests/clients/test_function_urls.py --mayfly build/mayfly
	@echo "make: the aws command line, the SDKs for JavaScript and Go and a SAM template, against the release build"
	@$(PYTHON) tests/clients/test_lambda_clients.py --mayfly build/mayfly
	@echo "make: answers that are streamed, by boto3, against the release build"
	@$(PYTHON) tests/clients/test_streams.py --mayfly build/mayfly
	@echo "make: layers by boto3, and code from a store of objects, against the release build"
	@$(PYTHON) tests/clients/test_layers.py --mayfly build/mayfly
	@echo "make: images of a registry by boto3 and by the command line, against the release build"
	@$(PYTHON) tests/clients/test_images.py --mayfly build/mayfly
	@echo "make: sam deploy, sam delete and aws cloudformation deploy, against the release build"
	@$(PYTHON) tests/clients/test_sam.py --mayfly build/mayfly

# What `make test` runs with sanitizers as the test `faults`, and a model whose check ends at its limit; four minutes.
faults: all venv
	@$(PYTHON) tests/models/make_models.py build/test-models
	@$(PYTHON) tests/faults/run.py --slow --mayfly build/mayfly

# Every test once more, with the thread sanitizer: the whole node under faults included.
tsan: venv
	@cmake --preset tsan >build/configure-tsan.log 2>&1 || { cat build/configure-tsan.log; exit 1; }
	@cmake --build build/tsan $(JOBS)
	@$(PYTHON) tests/models/make_models.py build/test-models
	@TSAN_OPTIONS=halt_on_error=1 ctest --test-dir build/tsan --output-on-failure

# The promised numbers, each beside its floor (docs/measurements.md). About 15 minutes; needs wrk as the load.
bench: all venv
	@tools/setup.sh wrk
	@cmake --preset bench >build/configure-bench.log 2>&1 || { cat build/configure-bench.log; exit 1; }
	@cmake --build build/bench $(JOBS)
	@$(PYTHON) examples/get_models.py fraud sentences sentences-int8 detector
	@build/bench/codec_bench
	@$(PYTHON) bench/run.py

clean:
	@find build -mindepth 1 -maxdepth 1 ! -name deps ! -name venv ! -name models -exec rm -rf {} + 2>/dev/null || true
