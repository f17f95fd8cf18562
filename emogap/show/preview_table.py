"""A table of replies for reading: whole texts, wrapped, what was rejected in colour."""

from typing import TYPE_CHECKING

from emogap.records import KEPT
from emogap.show.style import VERDICT_COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

_WRAPPED = ("line", "reply")


def readable(table: "pd.DataFrame") -> "Styler":
    """The columns of ``preview`` as notebooks show them. Where there is no notebook, print the table itself."""
    wrapped = [name for name in _WRAPPED if name in table]
    return (
        table.style.hide(axis="index")
        .format(precision=2)
        .set_properties(**{"text-align": "left", "vertical-align": "top"})
        .set_properties(subset=wrapped, **{"white-space": "pre-wrap", "min-width": "16em", "max-width": "44em"})
        .map(_verdict_style, subset=["verdict"])
    )


def _verdict_style(verdict: str) -> str:
    return f"color: {VERDICT_COLOURS[verdict == KEPT]}; font-weight: bold"
