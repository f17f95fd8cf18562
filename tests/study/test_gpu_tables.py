"""Tables of what cards do: written, read by the plan, shown in the documents; and the checks that fill them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emogap.paths import ROOT
from emogap.study.plan import RATES, read_rates

sys.path.insert(0, str(ROOT / "tests" / "gpu"))
import gpu_kit

ROWS = [
    {"card": "a card", "work": "pairs", "model": "m", "rate": "1500", "unit": "pairs/s", "floor": "3000", "GB": "2.5",
     "versions": "torch 9"},
    {"card": "a card", "work": "stories", "model": "m", "rate": "80.5", "unit": "tokens/s", "writer.batch_size": 16},
]  # fmt: skip


def test_a_table_is_read_as_it_was_written_and_shown_with_shares_of_floors(tmp_path):
    file = tmp_path / "new" / "card.csv"
    gpu_kit.write_rates(file, ROWS)
    first, second = (row for _, row in read_rates([file]))
    assert {key: value for key, value in first.items() if value} == ROWS[0]
    assert second["writer.batch_size"] == "16" and second["floor"] == ""
    assert gpu_kit.markdown(file).splitlines()[2:] == [
        "| pairs | m |  | 1,500 pairs/s | 50% | 2.5 |",
        "| stories | m | writer.batch_size 16 | 80 tokens/s | – | – |",
    ]


def test_the_document_shows_every_table_there_is_and_else_says_that_there_is_none():
    page = (ROOT / "docs" / "gpu-box.md").read_text(encoding="utf-8")
    tables = sorted(RATES.glob("*.csv"))
    assert all(gpu_kit.markdown(file) in page for file in tables), (
        "print(markdown(file)) of tests/gpu/gpu_kit.py gives it"
    )
    assert ("No figure on this page was measured on a GPU" in page) == (not tables)


def test_a_floor_is_the_larger_of_computing_and_moving_and_none_for_a_card_that_is_not_listed():
    h100 = "NVIDIA H100 80GB HBM3"
    assert gpu_kit.floor_rate(h100, 989e12) == pytest.approx(1)
    assert gpu_kit.floor_rate(h100, 989e12, moved=33.5e12) == pytest.approx(0.1)
    assert gpu_kit.floor_rate(h100, 67e12, peak="fp32") == pytest.approx(1)
    assert gpu_kit.floor_rate(f"{h100} MIG 1g.10gb", 1) is None


@pytest.mark.slow
def test_a_token_s_weights_are_counted_without_tables_that_are_only_looked_up():
    models = gpu_kit.Models("cuda")  # nothing is made of it
    models.remove()
    assert models.matmul_weights(gpu_kit.GPT2) == 12 * 12 * 768**2 + 50257 * 768
    layer = 2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    assert models.matmul_weights(gpu_kit.MISTRAL) == 32 * layer + 32000 * 4096
    assert models.matmul_weights(gpu_kit.ROBERTA) == 12 * 12 * 768**2 + 768**2


@pytest.mark.slow
def test_what_needs_a_package_that_is_absent_is_skipped_with_its_name(tmp_path):
    """As on a box with a GPU and little else; the script is run as `make test-gpu` runs it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery as machinery\n"
        "find = machinery.PathFinder.find_spec\n"
        "gone = {'trl', 'datasets', 'bitsandbytes', 'polars', 'choix', 'nltk', 'datasketch'}\n"
        "machinery.PathFinder.find_spec = classmethod(\n"
        "    lambda _, name, *rest: None if name.split('.')[0] in gone else find(name, *rest))\n"
    )
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "EMOGAP_GPU_DEVICE": "cpu"}
    environment |= {"PYTEST_ADDOPTS": "-k 'four_bits or instructions or classifier'"}
    done = subprocess.run(
        [str(ROOT / "tests/gpu/run.sh"), "right"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = (Path(tmp_path) / "right.txt").read_text(encoding="utf-8")
    assert "could not import 'bitsandbytes'" in said and "could not import 'trl'" in said and "1 passed" in said
