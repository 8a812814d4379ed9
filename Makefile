# Everything creates what it needs: a virtual environment in .venv, with realuid installed from this checkout.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# Any torch of pyproject.toml's range does; this one is what the results were measured with.
TORCH  ?= torch==2.13.0
EXTRAS  = dev,data,onnx,lora,effnet,text,docs,play,minilm
PYTEST  = python -m pytest -n auto

.PHONY: demo docs test test-all style check test-lowest test-newest clean

demo: $(VENV)/installed
	$(BIN)/realuid demo

# The site, in site/; any warning is an error.
docs: $(VENV)/installed
	$(BIN)/pip install --quiet --editable ".[docs]"
	$(BIN)/mkdocs build --strict

# The fast tests: at most four minutes on two cores.
test: $(VENV)/installed-dev
	$(BIN)/$(PYTEST)

# All tests, those of processes, exports, benchmarks and kills included.
test-all: $(VENV)/installed-dev
	$(BIN)/$(PYTEST) -m "slow or not slow"

style: $(VENV)/installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

check: style test-all

# The fast tests with the lowest versions that pyproject.toml allows of everything but torch, and with the newest.
test-lowest test-newest: $(VENV)/installed-dev
	test -x $(VENV)/$@/bin/python || $(PYTHON) -m venv $(VENV)/$@
	$(VENV)/$@/bin/pip install --quiet $(TORCH)
	$(VENV)/$@/bin/python -m pip freeze | grep "^torch==" > $(VENV)/$@/torch.txt
	$(BIN)/uv pip install --quiet --python $(VENV)/$@/bin/python --constraint $(VENV)/$@/torch.txt \
	    --resolution $(if $(findstring lowest,$@),lowest-direct,highest) --editable ".[$(EXTRAS)]"
	$(BIN)/uv pip install --quiet --python $(VENV)/$@/bin/python --no-deps torchcfm
	$(VENV)/$@/bin/$(PYTEST)

$(VENV)/installed: pyproject.toml
	@echo "installing torch and realuid into $(VENV): some minutes without a word"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable .
	touch $@

# torchcfm's network is compared with ours; what torchcfm itself requires (torchdyn, torchvision) is not needed for it.
$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing what tests need into $(VENV): some minutes without a word"
	$(BIN)/pip install --quiet --editable ".[$(EXTRAS)]"
	$(BIN)/pip install --quiet --no-deps torchcfm
	touch $@

clean:
	rm -rf $(VENV) runs
