"""A JupyterLab server with a notebook, for browser tests, and what one does there: change a cell, run it, read it."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from browser import wait_for


def of_one_cell(source: str) -> dict[str, Any]:
    """A notebook with that code."""
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3"}
    return {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@contextmanager
def lab_address(
    folder: Path, notebook: str | dict[str, Any], more: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """The address of a notebook (or of one with that code) in a JupyterLab that lives as long as the block.

    ``more``: of the environment.
    """
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    content = of_one_cell(notebook) if isinstance(notebook, str) else notebook
    (folder / "play.ipynb").write_text(json.dumps(content), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ip=127.0.0.1", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=",
               "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "jupyter")} | dict(more)
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return urllib.request.urlopen(f"{address}/api/status", timeout=2).status == 200
        except OSError:
            return False

    try:
        wait_for(answers, 90, "the notebook server")
        yield f"{address}/lab/tree/play.ipynb"
    finally:
        server.terminate()
        server.wait(30)


def lab_is_ready(browser) -> None:
    """Wait until the notebook is there and its kernel too: run before that, JupyterLab asks which one to take."""
    from selenium.webdriver.common.by import By

    ready = "return Boolean(window.jupyterapp && document.querySelector('.jp-Notebook .jp-Cell'))"
    wait_for(lambda: browser.execute_script(ready), 120, "JupyterLab")
    wait_for(lambda: "| Idle" in browser.find_element(By.CSS_SELECTOR, "#jp-main-statusbar").text, 120, "the kernel")


class Lab:
    """A notebook that is open in a browser."""

    def __init__(self, browser, address: str):
        self._browser = browser
        browser.set_script_timeout(300)
        browser.get(address)
        lab_is_ready(browser)

    def run(self, *parts: str) -> str:
        """Run the cells whose sources hold these parts, one after another; what the last of them said.

        Raises ``AssertionError`` with the error that a cell ended in.
        """
        said = ""
        for part in parts:
            said = self._do(
                """
                cell.model.sharedModel; nb.activeCellIndex = index;
                await window.jupyterapp.commands.execute('notebook:run-cell');
                return JSON.stringify(cell.model.outputs.toJSON());""",
                part,
            )
            for output in json.loads(said):
                assert output["output_type"] != "error", f"{output['ename']}: {output['evalue']}"
        return said

    def change(self, part: str, old: str, new: str) -> None:
        """Put another text in the place of one in the cell whose source holds ``part``."""
        source = self._do("return cell.model.sharedModel.getSource();", part)
        assert old in source
        self._do(f"cell.model.sharedModel.setSource({json.dumps(source.replace(old, new))}); return '';", part)

    def restart(self) -> None:
        """Restart the kernel, whatever it is doing."""
        self._do("await panel.sessionContext.restartKernel(); return '';", "")

    def begin(self, part: str) -> None:
        """Run a cell and do not wait for its end."""
        self._do(
            "nb.activeCellIndex = index; window.jupyterapp.commands.execute('notebook:run-cell'); return '';", part
        )

    def _do(self, script: str, part: str) -> str:
        found = self._browser.execute_async_script(
            """const done = arguments[arguments.length - 1], part = arguments[0];
            (async () => {
                const panel = window.jupyterapp.shell.currentWidget, nb = panel.content;
                const index = nb.widgets.findIndex(one => one.model.type === 'code'
                    && one.model.sharedModel.getSource().includes(part));
                if (index < 0) throw new Error('no cell holds ' + part);
                const cell = nb.widgets[index];
                """
            + script
            + """
            })().then(said => done(['', said]), error => done([String(error), '']));""",
            part,
        )
        assert not found[0], found[0]
        return found[1]
