"""The figure of people's preference, drawn from its table alone."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from emogap.show.style import model_colours, use_style


def preference_shares(table: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """Each model's share of the choices, a bar a model, with 95 % intervals. ``table``: ``preference_table``."""
    use_style()
    colours = model_colours(table["model"], bases)
    figure, axis = plt.subplots(figsize=(6.4, 0.42 * len(table) + 1.4))
    errors = [table["share"] - table["low"], table["high"] - table["share"]]
    axis.barh(table["model"], table["share"], color=[colours[model] for model in table["model"]])
    axis.errorbar(table["share"], table["model"], xerr=errors, fmt="none", color="black", linewidth=1, capsize=2)
    for place, row in enumerate(table.itertuples()):
        axis.text(row.high + 1, place, f"{row.share:.1f}", va="center")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlim(0, min(110, table["high"].max() + 10))
    axis.set_xlabel("share of the choices, %")
    axis.set_title(f"{table['model'].iloc[0]} is preferred most often ({table['votes'].sum()} choices)")
    figure.tight_layout()
    return figure
