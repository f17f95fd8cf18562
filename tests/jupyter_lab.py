"""A JupyterLab server with a notebook of one cell, for browser tests."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import wait_for


@contextmanager
def lab_address(folder: Path, source: str) -> Iterator[str]:
    """The address of a notebook with that code in a JupyterLab that lives as long as the block."""
    pytest.importorskip("jupyterlab", reason="jupyterlab is not installed")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
    kernel = {"name": "python3", "display_name": "Python 3"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "play.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ip=127.0.0.1", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=",
               "--LabApp.expose_app_in_browser=True"]  # fmt: skip
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(folder / "jupyter")}
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
