"""What the checks of a GPU share. They are run alone, from the source tree: `make test-gpu`.

``EMOGAP_GPU_DEVICE=cpu`` runs the same code with tiny models on a CPU, which checks the checks; ``cuda:1`` takes
another card. Without it, and without a GPU, all is skipped.
"""

import os
from collections.abc import Iterator

import pytest
from gpu_kit import Models

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def device() -> str:
    torch = pytest.importorskip("torch")
    wanted = os.environ.get("EMOGAP_GPU_DEVICE") or "cuda"
    if wanted != "cpu" and not torch.cuda.is_available():
        pytest.skip("torch sees no GPU; EMOGAP_GPU_DEVICE=cpu runs the same code with tiny models")
    return wanted


@pytest.fixture(scope="session")
def models(device) -> Iterator[Models]:
    made = Models(device)
    yield made
    made.remove()
