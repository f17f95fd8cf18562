"""The report's tables and figure of people's preference."""

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from emogap.config import Config
from emogap.preference.questionnaire import Votes, preference_table, prompts_table, raters_table
from emogap.store.exhibits import Exhibit, Shown, show
from emogap.store.style import model_colours, use_style
from emogap.store.views import View, cells
from emogap.text.statistics import leader

ORDER = 69
SHARES = View({"": 1, "strength": 2})
_RATERS = View({"krippendorff_alpha": 3})


def show_preference(config: Config, votes: Votes) -> str:
    """Write the tables and the figure; the table of shares and what is known of the raters, as text.

    Raises ``InputError`` if nothing was chosen.
    """
    shares = preference_table(votes)
    raters = raters_table(votes)
    show(config.home.evaluation, _exhibits(votes, shares, raters, list(config.bases)))
    return f"{cells(shares, SHARES).to_string(index=False)}\n\n{cells(raters, _RATERS).to_string(index=False)}"


def _exhibits(votes: Votes, shares: "pd.DataFrame", raters: "pd.DataFrame", bases: list[str]) -> Iterator[Shown]:
    caption = (
        "Share of the raters' choices in percent, with 95 % intervals (Wilson's) over raters and prompts, both drawn"
    )
    told = f"{caption}, and Bradley-Terry strengths."
    yield Exhibit("preference", "table", told, ORDER, published="preference", view=SHARES), shares
    told = "Who answered, and how far the raters agree (Krippendorff)."
    yield Exhibit("preference_raters", "table", told, ORDER, view=_RATERS), raters
    told = "Votes for each model, prompt by prompt."
    yield Exhibit("preference_prompts", "table", told, ORDER), prompts_table(votes)
    yield Exhibit("preference_votes", "table", "Every choice with its reason.", ORDER), votes.table
    bars = Exhibit("preference", "figure", f"{caption}.", ORDER, alt="A bar for each model, longest first.")
    yield bars, preference_shares(shares, bases)


def preference_shares(table: pd.DataFrame, bases: Sequence[str]) -> Figure:
    """Each model's share of the choices, a bar a model, with 95 % intervals. ``table``: ``preference_table``."""
    use_style()
    colours = model_colours(table["model"], bases)
    figure, axis = plt.subplots(figsize=(6.4, 0.42 * len(table) + 1.4))
    errors = [table["share"] - table["low"], table["high"] - table["share"]]
    axis.barh(table["model"], table["share"], color=[colours[model] for model in table["model"]])
    axis.errorbar(table["share"], table["model"], xerr=errors, fmt="none", color="black", linewidth=1, capsize=2)
    ends = table["high"].fillna(table["share"])
    for place, (row, end) in enumerate(zip(table.itertuples(), ends, strict=True)):
        axis.text(end + 1, place, f"{row.share:.1f}", va="center")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlim(0, min(110, ends.max() + 10))
    axis.set_xlabel("share of the choices, %")
    axis.set_title(f"{_preferred(table)} ({table['votes'].sum()} choices, 95 % intervals)")
    figure.tight_layout()
    return figure


def _preferred(table: pd.DataFrame) -> str:
    own = table.set_index("model")
    first = leader(own["low"], own["high"])
    return f"{first} is preferred most often" if first else "Shares of the choices"
