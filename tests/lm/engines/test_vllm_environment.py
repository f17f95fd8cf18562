"""What is asked of vLLM's environment before its server starts, by environments that hold empty packages; what is said
of a server that does not start."""

import sys
from pathlib import Path

import pytest

from emogap.config import HubModel, Writer
from emogap.errors import ModelError
from emogap.lm.engines.open_engine import open_engine
from emogap.lm.engines.vllm_engine import Server, serve_command


@pytest.fixture
def nf4(tmp_path):
    """A writer whose vLLM stands in an environment of these packages."""

    def make(*packages: str) -> Writer:
        environment = tmp_path / "environment"
        for package in packages:
            (environment / "packages" / package).mkdir(parents=True)
            (environment / "packages" / package / "__init__.py").write_text("raise SystemExit('it was imported')")
        python = environment / "bin" / "python"
        python.parent.mkdir(parents=True)
        # Without -S it would see the packages of the environment that the tests run in.
        python.write_text(f'#!/bin/sh\nPYTHONPATH={environment / "packages"} exec {sys.executable} -S "$@"\n')
        (python.parent / "vllm").write_text("#!/bin/sh\nexit 7\n")
        for program in python.parent.iterdir():
            program.chmod(0o755)
        model = HubModel(name="no/such-model")
        return Writer(model=model, engine="vllm", quantization="nf4", vllm=f"{python.parent / 'vllm'} serve")

    return make


@pytest.mark.parametrize("packages", [("vllm",), ("vllm", "vllm_bnb_plugin"), ("vllm", "bitsandbytes")])
def test_four_bits_without_their_plugin_are_one_line_before_the_model_is_looked_for(nf4, packages):
    with pytest.raises(ModelError) as caught:
        open_engine(nf4(*packages))
    line = str(caught.value)
    assert line.startswith("writer.quantization=nf4: vLLM in ") and "\n" not in line
    assert "bin/python -m pip install --no-deps bitsandbytes vllm-bnb-plugin`" in line


@pytest.mark.parametrize("packages", [("vllm", "vllm_bnb_plugin", "bitsandbytes"), ()])
def test_four_bits_are_passed_on_where_the_plugin_is_there_or_nothing_can_be_told(nf4, packages):
    """Where the interpreter beside the program knows no vLLM, the program starts one that lies elsewhere."""
    words = serve_command(Path("folder"), nf4(*packages), 64)
    assert words[words.index("--quantization") + 1] == "bitsandbytes"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            "(Worker pid=7) ERROR 11-27 [executor.py:9]     raise ValueError(\n"
            "(Worker pid=7) ERROR 11-27 [executor.py:9] ValueError: no room on this card\n"
            "    raise RuntimeError(\n"
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n",
            "ValueError: no room on this card",
        ),
        (
            "INFO starting\napi_server.py: error: unrecognized arguments: --no\n\n",
            "api_server.py: error: unrec.*: --no",
        ),
        ("", "it wrote nothing"),
    ],
)
def test_of_a_server_that_does_not_start_the_cause_is_said(tmp_path, log, said):
    (tmp_path / "log").write_text(log)
    with pytest.raises(ModelError, match=f"^vLLM did not start: {said}$"):
        Server(["/bin/sh", "-c", f"cat {tmp_path / 'log'}; exit 1"])
