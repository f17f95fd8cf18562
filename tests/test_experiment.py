"""What the README and docs/experiment.md tell of the experiment is what its measured rows say."""

import pandas as pd
import pytest
from documents import ROOT

from emogap.emotions import groups_of
from experiments.cpu_study_page import BASE, PAGE, RESULTS, TABLES, table, tables_in


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_the_experiments_tables(name):
    assert tables_in(PAGE.read_text(encoding="utf-8"), name)[1] == table(name)


def test_a_page_without_its_table_is_an_error():
    with pytest.raises(ValueError, match="0 tables of 'rewrites'"):
        tables_in("# A page", "rewrites")


def positive_effects():
    effects = pd.read_csv(RESULTS / "effects.csv").query("measure == 'positive answers'")
    return effects.set_index([effects["model"].str.removeprefix(BASE), effects["against"].str.removeprefix(BASE)])


def test_the_readme_tells_the_effect_that_was_measured():
    effect = positive_effects().loc[("-instr", "-orig")]
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"positive answers {effect['change']:.0f} points more often than after the same training" in text
    assert f"95 % interval {effect['low']:.0f} to {effect['high']:.0f}, over 140 prompts" in text


def shares(model):
    """Prompt → its share of positive answers, the mean over three seeds, without empty answers."""
    files = [RESULTS / "models" / f"{BASE}{model}.s{seed}" / "answers.parquet" for seed in range(3)]
    answers = pd.concat([pd.read_parquet(file).assign(seed=seed) for seed, file in enumerate(files)])
    answers = answers.query("condition == '' and classifier == 'emotion-minilm' and not empty")
    answers = answers.assign(positive=groups_of(answers["response_emotion"], "study").eq("positive"))
    by_seed = answers.groupby(["prompt_id", "seed"])["positive"].mean()
    return 100 * by_seed.groupby("prompt_id").mean()


@pytest.mark.parametrize("pair", [("-instr", "-orig"), ("-baby", "-plain"), ("-baby", "-lines")], ids=str)
def test_effects_are_means_over_the_prompts_that_both_models_answer(pair):
    model, other = map(shares, pair)
    assert positive_effects().loc[pair, "change"] == pytest.approx((model - other).dropna().mean(), rel=1e-4)
