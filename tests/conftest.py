"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

from emogap.config import Config, load_config

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # tests reach no model hub
if "PYTEST_XDIST_WORKER" in os.environ:
    # A process a core: further threads of torch would only wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def config(tmp_path) -> Config:
    """The embedded profile without controls in a fresh home."""
    return load_config("embedded", tmp_path / "home", ["controls=false"])


@pytest.fixture
def make_config(tmp_path):
    """The embedded profile in a fresh home (the same for all calls of one test), with overrides; without controls
    unless they are asked for."""

    def make(*settings: str, profile: str = "embedded") -> Config:
        return load_config(profile, tmp_path / "home", ["controls=false", *settings])

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data for tests, where it is to be had."""
    folder = os.environ.get("EMOGAP_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set EMOGAP_TEST_DATA to its folder")
    return Path(folder)


def pytest_collection_modifyitems(items):
    """The longest first: where two processes share the tests, none is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)
