"""Bring the README's figure and table up to date: ``python tests/readme_demo.py runs/embedded`` after a demo.

The table holds what the demo's own tables say; a test holds the README's form, not its numbers.
"""

import shutil
import sys
from pathlib import Path

import pandas as pd

from emogap.grammar.blimp_tables import MEAN
from emogap.store.exhibits import shown_table

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- the demo's table: tests/readme_demo.py -->", "<!-- end of the table -->"
HEADINGS = ("model", "positive answers, %", "asked emotion found, %", "grammar, %", "perplexity of plain text")


def demo_table(evaluation: Path) -> str:
    """A row a model, in Markdown, with 95 % intervals. ``evaluation``: ``quantitative_analysis/`` of a home."""
    tables = evaluation / "tables"
    conditions = pd.read_csv(tables / "sentiment_conditions.csv")
    asked = conditions[conditions["condition"] == "asked, sampled"].set_index("model")
    language = pd.read_csv(tables / "language.csv").set_index("model")
    grammar = shown_table(evaluation, "blimp_accuracy").set_index("phenomenon").loc[MEAN]
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for model in asked.index:
        cells = (
            model,
            _estimate(asked, model, "positive"),
            _estimate(language, model, "top1"),
            grammar[model],
            _estimate(language, model, "perplexity"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _estimate(table: pd.DataFrame, model: str, name: str) -> str:
    value, low, high = (table.loc[model, f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.0f} [{low:.0f}, {high:.0f}]"


def main(home: Path) -> None:
    evaluation = home / "quantitative_analysis"
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{demo_table(evaluation)}\n{END}{after}", encoding="utf-8")
    shutil.copy(evaluation / "figures" / "sentiment_groups.png", ROOT / "docs" / "images" / "demo.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
