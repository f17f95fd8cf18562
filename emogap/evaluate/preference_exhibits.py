"""The report's tables and figure of people's preference."""

from emogap.config import Config
from emogap.evaluate.preference import Votes, preference_table, prompts_table, raters_table
from emogap.store.exhibits import Exhibit, save_figure, save_table

ORDER = 69


def preference_exhibits(config: Config, votes: Votes) -> str:
    """Write the tables and the figure; the table of shares and what is known of the raters, as text.

    Raises ``InputError`` if nothing was chosen.
    """
    from emogap.show.preference_figures import preference_shares

    folder = config.home.evaluation
    shares = preference_table(votes, config.sentiment.bootstrap, config.seed)
    raters = raters_table(votes)
    caption = "Share of the raters' choices in percent, with 95 % intervals over raters and prompts"
    save_table(
        folder,
        Exhibit("preference", "table", f"{caption}, and Bradley-Terry strengths.", ORDER, published="preference"),
        shares,
    )
    save_table(
        folder,
        Exhibit("preference_raters", "table", "Who answered, and how far the raters agree (Krippendorff).", ORDER),
        raters,
    )
    save_table(
        folder,
        Exhibit("preference_prompts", "table", "Votes for each model, prompt by prompt.", ORDER),
        prompts_table(votes),
    )
    save_table(folder, Exhibit("preference_votes", "table", "Every choice with its reason.", ORDER), votes.table)
    save_figure(
        folder,
        Exhibit("preference", "figure", f"{caption}.", ORDER, alt="A bar for each model, longest first."),
        preference_shares(shares, list(config.bases)),
    )
    return f"{shares.to_string(index=False)}\n\n{raters.to_string(index=False)}"
