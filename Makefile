# Everything creates what it needs: a virtual environment in .venv, with realuid installed from this checkout.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# Any torch of pyproject.toml's range does; this one is what the results were measured with.
TORCH  ?= torch==2.13.0

.PHONY: demo test check clean

demo: $(VENV)/installed
	$(BIN)/realuid demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto

check: $(VENV)/installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[dev,data,onnx,effnet]"
	touch $@

clean:
	rm -rf $(VENV) runs
