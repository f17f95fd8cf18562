"""The report's tables and figure of people's preference."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emogap.config import Config
from emogap.evaluate.preference import Votes, preference_table, prompts_table, raters_table
from emogap.store.exhibits import Exhibit, Shown, show
from emogap.store.views import View, cells

if TYPE_CHECKING:
    import pandas as pd

ORDER = 69
SHARES = View({"": 1, "strength": 2})
_RATERS = View({"krippendorff_alpha": 3})


def show_preference(config: Config, votes: Votes) -> str:
    """Write the tables and the figure; the table of shares and what is known of the raters, as text.

    Raises ``InputError`` if nothing was chosen.
    """
    shares = preference_table(votes, config.sentiment.bootstrap, config.seed)
    raters = raters_table(votes)
    show(config.home.evaluation, _exhibits(votes, shares, raters, list(config.bases)))
    return f"{cells(shares, SHARES).to_string(index=False)}\n\n{cells(raters, _RATERS).to_string(index=False)}"


def _exhibits(votes: Votes, shares: "pd.DataFrame", raters: "pd.DataFrame", bases: list[str]) -> Iterator[Shown]:
    from emogap.show.preference_figures import preference_shares

    caption = "Share of the raters' choices in percent, with 95 % intervals over raters and prompts"
    told = f"{caption}, and Bradley-Terry strengths."
    yield Exhibit("preference", "table", told, ORDER, published="preference", view=SHARES), shares
    told = "Who answered, and how far the raters agree (Krippendorff)."
    yield Exhibit("preference_raters", "table", told, ORDER, view=_RATERS), raters
    told = "Votes for each model, prompt by prompt."
    yield Exhibit("preference_prompts", "table", told, ORDER), prompts_table(votes)
    yield Exhibit("preference_votes", "table", "Every choice with its reason.", ORDER), votes.table
    bars = Exhibit("preference", "figure", f"{caption}.", ORDER, alt="A bar for each model, longest first.")
    yield bars, preference_shares(shares, bases)
