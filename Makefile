# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RIVERKEEP_ROOMS := streams memory checkpoints learner serving daemon

.PHONY: demo test check format kafka bench clean

demo: $(STAMP)
	$(BIN)/riverkeep demo $(DEMO_ARGS)

test: $(STAMP) kafka
	$(BIN)/python -m pytest $(TEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Apache Kafka for the integration tests, where Java and Maven are; without them the tests say what went unproven.
kafka: tests/kafka/libs/.complete

tests/kafka/libs/.complete: tests/kafka/pom.xml
	@if command -v java >/dev/null && command -v mvn >/dev/null; then \
	    mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs \
	    && touch $@; \
	else echo "Java or Maven is missing: the tests run on the embedded broker only"; fi

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,models,lint]'
	touch $@

clean:
	rm -rf $(VENV) tests/kafka/libs build
