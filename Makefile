# make demo   the default workflow, from raw cells to the report
# make test   all tests and linters
# make format put the code into its form
#
# PYTHON=python3.12 chooses the interpreter. TORCH_INDEX chooses torch's build, e.g.
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu     (small, for machines without a GPU)

SHELL := /bin/bash
PYTHON ?= python3
TORCH_INDEX ?=
CORES ?= all
BIN := $(CURDIR)/.venv/bin
RUN := PATH="$(BIN):$$PATH" PYTHONNOUSERSITE=1
REPORT := results/report/report.html

.PHONY: demo test lint format clean rulegraph

.venv/complete: requirements.lock
	rm -rf .venv
	$(PYTHON) -m venv .venv
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check \
		$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -r requirements.lock
	printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/python" -m celllm "$$@"\n' "$(CURDIR)/src" "$(BIN)" > "$(BIN)/celllm"
	chmod +x "$(BIN)/celllm"
	touch $@

demo: .venv/complete
	$(RUN) snakemake --cores $(CORES) --report-after-run --report $(REPORT)
	@printf '\nThe report: %s\nIts tables:  %s\n' "$(CURDIR)/$(REPORT)" "$(CURDIR)/results/report/tables/"

test: .venv/complete lint
	$(RUN) OMP_NUM_THREADS=1 python -m pytest --numprocesses $(shell nproc) --dist loadfile --no-loadscope-reorder

lint: .venv/complete
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) codespell
	$(RUN) snakemake --lint

format: .venv/complete
	$(RUN) ruff format .
	$(RUN) ruff check --fix .
	$(RUN) snakefmt Snakefile workflow

clean:
	rm -rf results/[!R]* resources logs benchmarks .snakemake

rulegraph: .venv/complete # needs Graphviz's dot
	$(RUN) snakemake --rulegraph dot 2> /dev/null | dot -Tsvg -o docs/rulegraph.svg
