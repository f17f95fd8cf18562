"""The report's tables and figure of people's preference."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from emogap.config import Config
from emogap.evaluate.preference import Votes, preference_table, prompts_table, raters_table
from emogap.store.exhibits import Exhibit, Shown, show

if TYPE_CHECKING:
    import pandas as pd

ORDER = 69


def show_preference(config: Config, votes: Votes) -> str:
    """Write the tables and the figure; the table of shares and what is known of the raters, as text.

    Raises ``InputError`` if nothing was chosen.
    """
    shares = preference_table(votes, config.sentiment.bootstrap, config.seed)
    raters = raters_table(votes)
    show(config.home.evaluation, _exhibits(votes, shares, raters, list(config.bases)))
    return f"{shares.to_string(index=False)}\n\n{raters.to_string(index=False)}"


def _exhibits(votes: Votes, shares: "pd.DataFrame", raters: "pd.DataFrame", bases: list[str]) -> Iterator[Shown]:
    from emogap.show.preference_figures import preference_shares

    caption = "Share of the raters' choices in percent, with 95 % intervals over raters and prompts"
    yield (
        Exhibit("preference", "table", f"{caption}, and Bradley-Terry strengths.", ORDER, published="preference"),
        shares,
    )
    yield (
        Exhibit("preference_raters", "table", "Who answered, and how far the raters agree (Krippendorff).", ORDER),
        raters,
    )
    yield (
        Exhibit("preference_prompts", "table", "Votes for each model, prompt by prompt.", ORDER),
        prompts_table(votes),
    )
    yield Exhibit("preference_votes", "table", "Every choice with its reason.", ORDER), votes.table
    yield (
        Exhibit("preference", "figure", f"{caption}.", ORDER, alt="A bar for each model, longest first."),
        preference_shares(shares, bases),
    )
