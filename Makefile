# `make` alone prints what there is. PYTHON=python3.12 chooses another Python for the virtual environment.

SHELL := bash
BIN := .venv/bin
ARGS ?=
ROW ?=
SEED ?= 1
export PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint bench bench-throughput bench-stream bench-replay bench-ingest bench-steady bench-store \
  bench-race bench-planner promises faults

help:  ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## make .venv with the locked dependencies; the command is then .venv/bin/lunchong
	@tools/setup

demo: setup  ## a living neighbourhood on http://127.0.0.1:8080 (ARGS="--speed 600 --for 60")
	@$(BIN)/lunchong demo $(ARGS)

lint: setup  ## style, types, floors and the order of packages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python tools/floors --check
	$(BIN)/lint-imports --no-logo

test: setup  ## install what the tests need, then run all checks, and all tests in two parts side by side with coverage
	@tools/system-packages test
	@tools/influxd install || echo "Going on without it: the tests that need it are skipped"
	@$(MAKE) --no-print-directory lint
	$(BIN)/python tools/tests

bench: setup  ## messages a second, cost of a message, delay on the page; ends with one line of JSON
	@$(BIN)/python -m benchmarks

bench-throughput: setup  ## of that, messages a second and the cost of one
	@$(BIN)/python -m benchmarks throughput

bench-stream: setup  ## of that, the delay from a message to the page
	@$(BIN)/python -m benchmarks stream

bench-replay: setup  ## 17 226 real sessions through broker, ingest and store; ends with one line of JSON
	@rm -rf build/replay
	@$(BIN)/lunchong simulate --replay simulators/data/sessions.csv --map simulators/data/boulder.toml \
	  --as-fast-as-acked --data build/replay --json

bench-ingest: setup  ## 200 000 queued messages drained into InfluxDB, beside the straightforward worker; needs mosquitto and influxd
	@tools/influxd install >/dev/null
	@$(BIN)/python -m benchmarks.ingest $(ARGS)

bench-steady: setup  ## 5 000 messages a second for five minutes: from publish to ack, syncs of the disk beside it, memory
	@tools/influxd install >/dev/null
	@$(BIN)/python -m benchmarks.steady $(ARGS)

bench-store: setup  ## the store alone, InfluxDB and DuckDB: a month of 200 piles, appended and asked
	@tools/influxd install >/dev/null
	@$(BIN)/python -m benchmarks.store $(ARGS)

bench-race: setup  ## 100 000 attempts at the same buckets on SQLite and PostgreSQL each; is one ever promised twice?
	@$(BIN)/python -m benchmarks.race $(ARGS)

bench-planner: setup  ## plans of 100 seeded sites within a second each, beside CP-SAT's bound given a minute (up to 100 min)
	@$(BIN)/python -m benchmarks.planner $(ARGS)

promises: setup  ## 10 000 lives at the desk and 2 000 in a neighbourhood: is a promise ever broken? (3 minutes on two cores)
	@echo "10 000 lives of promises, then 2 000 of a whole neighbourhood, in two halves; seed $(SEED)"
	@export PROMISE_EXAMPLES=5000; for half in 1 2; do \
	    PYTHONHASHSEED=0 PROMISE_SEED=$(SEED)/$$half $(BIN)/pytest -q tests/integration/test_promises.py tests/integration/test_neighbourhood.py & halves+=" $$!"; done; \
	  for half in $$halves; do wait $$half || exit 1; done

faults: setup  ## the fault matrix, or one row of it (ROW=4); ends with one line of JSON
	@$(BIN)/python -m tools.faults $(if $(ROW),--row $(ROW)) $(ARGS)
