# `make demo` and `make test` each set the whole machine up: the only thing
# asked of it is a Python from 3.11 to 3.13.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-interop test-wheel lint format lock clean help

help:
	@echo "make demo    set up, pretrain on handwritten digits, export, score"
	@echo "make test    set up, lint, run every test"
	@echo "make test-interop  exports in TensorFlow 2.15 with tensorflow-addons"
	@echo "make test-wheel  the installed wheel, in an empty environment"
	@echo "make lint    ruff and mypy, without changing anything"
	@echo "make format  ruff, in place"
	@echo "make lock    resolve the newest versions that setup.cfg allows"
	@echo "make clean   remove .venv*, caches, runs/digits and exports/digits"

demo: .venv/.runtime
	$(BIN)/python -m mec_tf.train --flagfile=flags/digits.cfg
	$(BIN)/python -m mec_tf.report --workdir=runs/digits --views
	$(BIN)/python -m mec_tf.evaluate --protocol=knn --dataset=digits \
	    --encoder=exports/digits,random:resnet_tiny,pixels \
	    --labels_per_class=10 --output=runs/digits/knn.json
	@echo 'the encoder is in exports/digits; two lines of Python load it:'
	@echo '    import tensorflow as tf'
	@echo '    encoder = tf.saved_model.load("exports/digits")'

# Two files of tests at a time: half of a test is one thread's tracing.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile \
	    --no-loadscope-reorder

# tensorflow-addons ended with TensorFlow 2.15, which needs Python 3.9 to 3.11:
# an environment of its own, in which what the main one exports is fine-tuned.
INTEROP_PYTHON ?= $(shell for p in python3.11 python3.10 $(PYTHON); do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))' \
	    2>/dev/null && echo $$p && break; done)
ifneq ($(INTEROP_PYTHON),)
test-interop: .venv/.runtime .venv-interop/.installed
	.venv-interop/bin/python -m pytest -c tests_interop/pytest.ini tests_interop
else
test-interop:
	@echo "test-interop: SKIPPED: found no Python 3.10 or 3.11; name one:" \
	    "make test-interop INTEROP_PYTHON=python3.11"
	@test -z "$(INTEROP_REQUIRED)"
endif

# What a user gets: a wheel in an environment of its own, used from a folder in
# which there is nothing of this repository.
test-wheel: .venv/.runtime
	set -e; place=$$(mktemp -d); trap 'rm -rf "$$place"' EXIT; \
	$(BIN)/python -m pip wheel --no-deps --no-build-isolation \
	    --wheel-dir "$$place" .; \
	$(PYTHON) -m venv "$$place/venv"; \
	"$$place/venv/bin/python" -m pip install -c requirements.lock \
	    "$$place"/mec_tf-*.whl; \
	mkdir "$$place/empty"; cd "$$place/empty"; \
	export PATH="$$place/venv/bin:$$PATH"; unset PYTHONPATH; \
	mec-tf --version; \
	mec-tf train --preset=digits --epochs=1 --warmup_epochs=0 \
	    --lambda_warmup_epochs=0; \
	mec-tf evaluate --protocol=knn --dataset=digits \
	    --encoder=exports/digits --output=scores.json; \
	mec-tf report --workdir=runs/digits; \
	mec-tf export --workdir=runs/digits --format=keras; \
	ls exports runs/digits scores.json

.venv-interop/.installed: requirements-interop.lock
	test -x .venv-interop/bin/python || $(INTEROP_PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install -r requirements-interop.lock
	@touch $@

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The runtime alone is enough to train; the tests' tools come on top of it, and
# the stamps keep make from installing what has not changed.
.venv/.runtime: requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; \
	(3, 11) <= v <= (3, 13) or sys.exit("mec_tf needs Python 3.11 to 3.13, \
	but $(PYTHON) is %d.%d; name another one: make PYTHON=python3.12" % v)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.test: requirements-test.lock .venv/.runtime
	$(BIN)/python -m pip install -r requirements-test.lock
	@touch $@

# PyTorch is the tests' oracle, on the CPU: a wheel without CUDA is enough, and
# one with it brings its own libraries.
UV_COMPILE = uv pip compile --quiet --universal --no-annotate \
	--custom-compile-command "make lock" --python-version
lock:
	echo setuptools | $(UV_COMPILE) 3.11 --upgrade setup.cfg - -o requirements.lock
	$(UV_COMPILE) 3.11 --extra test setup.cfg -c requirements.lock \
	    | grep -vE '^(cuda|nvidia|triton)' > requirements-test.lock
	$(UV_COMPILE) 3.10 --upgrade requirements-interop.in \
	    -o requirements-interop.lock

clean:
	rm -rf .venv .venv-interop build mec_tf.egg-info .pytest_cache .ruff_cache .hypothesis
	rm -rf runs/digits exports/digits
	find . -name __pycache__ -prune -exec rm -rf {} +
