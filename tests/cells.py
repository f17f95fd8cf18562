"""Scripts with cells, run as an editor runs them: one cell after another in an interactive session."""

import re
import sys
from pathlib import Path

from emogap.paths import ROOT

LONGEST = 15


def run_cells(script: str, home: Path, monkeypatch) -> dict:
    """Run the cells of a script for a home; the names that they leave."""
    cells = re.split(r"^# %%.*$", (ROOT / script).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    monkeypatch.setattr(sys, "ps1", "> ", raising=False)
    monkeypatch.setenv("EMOGAP_HOME", str(home))
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict = {"__name__": "__main__"}
    for cell in cells:
        assert len([line for line in cell.splitlines() if line.strip()]) <= LONGEST, cell
        exec(compile(cell, script, "exec"), names)
    return names
