"""Tables about the emotion of answers, the statistics behind them, and what the answers are like as text."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from emogap.answers import sentiment, sentiment_figures
from emogap.answers.emotions_found import asked_is_among_first, empty_rule, judgements, sentiment_scores, text_scores
from emogap.answers.fluency import distinct_share, repeated_share
from emogap.answers.sentiment_exhibits import VIEW
from emogap.commands.cli import main
from emogap.emotions import GROUPINGS, INDEX, LABELS
from emogap.errors import InputError, MissingInput
from emogap.records import EMOTIONS, write_rows
from emogap.store.views import cells
from emogap.train.models import CONTROL, CONTROLLED, TUNED, Comparison


def counts_file(tmp_path, rows, header="model,instruction_emotion,response_emotion,count"):
    file = tmp_path / "counts.csv"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


PUBLISHED = ["gpt2,joy,positive,100", "gpt2,love,positive,72", "gpt2,joy,neutral,219", "gpt2,love,negative,28"]


def test_counts_alone_print_the_published_percentages(tmp_path, capsys):
    file = counts_file(tmp_path, PUBLISHED)
    assert main(["sentiment", "--counts", str(file), "--out", str(tmp_path / "out")]) == 0
    groups = pd.read_csv(tmp_path / "out" / "sentiment_groups.csv")
    assert list(groups)[:6] == ["model", "row", "positive", "neutral", "negative", "n"]
    shares = [100 * count / 419 for count in (172, 219, 28)]
    assert groups.iloc[0, [0, 1, 5]].tolist() == ["gpt2", "positive", 419]
    assert groups.iloc[0, 2:5].tolist() == pytest.approx(shares, rel=1e-12), "not rounded"
    assert groups["positive"].round(2)[0] == 41.05
    assert cells(groups, VIEW)["positive"][0] == "41.1 [36.4, 45.8]", "to what 419 answers support"
    emotions = pd.read_csv(tmp_path / "out" / "sentiment_emotions.csv").set_index("row")
    assert emotions.loc["joy", ["positive", "neutral", "n"]].round(2).tolist() == [31.35, 68.65, 319]
    assert emotions.loc["love", "negative_low"] < 28 < emotions.loc["love", "negative_high"]
    latex = (tmp_path / "out" / "sentiment_groups.tex").read_text(encoding="utf-8")
    assert "gpt2 & positive & 41.1 [" in latex
    assert "sentiment_groups.csv" in capsys.readouterr().out


def test_rows_pool_counts_not_percentages(tmp_path):
    # 1 of 1 and 0 of 9: pooled 10 %, while the mean of the percentages would be 50 %.
    file = counts_file(tmp_path, ["m,joy,joy,1", "m,love,anger,9"])
    table = sentiment.sentiment_table(sentiment.read_counts(file), "group")
    assert table.loc[0, ["row", "positive", "negative", "n"]].tolist() == ["positive", 10.0, 90.0, 10]


def test_study_grouping_is_the_one_of_the_published_tables():
    assert sum(map(len, GROUPINGS["study"].values())) == 28
    assert set(GROUPINGS["study"]["neutral"]) == {"neutral", "surprise"}
    rows = [{"model": "m", "instruction_emotion": "joy", "response_emotion": e, "prompt_id": e} for e in LABELS]
    study = sentiment.sentiment_table(pd.DataFrame(rows), "all", "study").iloc[0]
    assert study[["positive_count", "neutral_count", "negative_count"]].tolist() == [14, 2, 12]
    own = sentiment.sentiment_table(pd.DataFrame(rows), "all", "goemotions").iloc[0]
    assert own[["positive_count", "ambiguous_count", "neutral_count", "negative_count"]].tolist() == [12, 4, 1, 11]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["m,happy,joy,1"], "line 2: instruction_emotion 'happy'"),
        (["m,joy,joy,1", "m,joy,glad,1"], "line 3: response_emotion 'glad'"),
        (["m,joy,joy,-1"], "line 2: 'count' is '-1', input should be greater"),
        (["m,joy,joy,1.5"], "'count' is '1.5', not a whole number"),
        (["m,joy,joy,many"], "'count' is 'many', not a whole number"),
        (["m,joy,joy,"], "'count' is '', not a whole number"),
        (["m,joy,joy,nan"], "'count' is 'nan', not a whole number"),
        ([",joy,joy,1"], "line 2: 'model' is '', empty"),
        (["NaN,joy,joy,1"], "line 2: 'model' is 'NaN', what stands for a missing value"),
        (["gpt2,joy,joy,1", "GPT2 ,joy,love,1"], "line 3: the model 'GPT2' is 'gpt2' elsewhere"),
        (["m,joy,joy,1", "m,Joy, joy ,2"], "line 3: m, joy, joy stands twice"),
        (["m,joy,joy,99999999999"], "counts 99999999999 answers; it takes 1 to 10,000,000"),
        (["m,joy,joy,1,x"], "line 2: 5 fields, not the 4 of the first line"),
        (["m,joy,joy,1", "m,joy,joy,2"], "line 3: m, joy, joy stands twice"),
        (["m,joy,joy,0"], "counts no answers"),
        ([], "counts no answers"),
    ],
)
def test_bad_counts_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        sentiment.read_counts(counts_file(tmp_path, rows))


def test_bad_counts_files_are_one_line_and_leave_nothing(tmp_path, capsys):
    file = counts_file(tmp_path, ["m,joy,1"], header="model,instruction_emotion,count")
    assert main(["sentiment", "--counts", str(file), "--out", str(tmp_path / "out")]) == 1
    assert "has no column response_emotion" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingInput, match=r"none\.csv not found"):
        sentiment.read_counts(tmp_path / "none.csv")
    assert main(["sentiment", "--counts", str(file)]) == 2


def made_up_answers(shares, prompts=20, samples=1, emotions=("joy", "anger")):
    """Answers of several models: ``shares[model]`` of each emotion's prompts get a joyful answer, the others anger."""
    rows = []
    for model, share in shares.items():
        for asked in emotions:
            for place in range(prompts):
                for sample in range(samples):
                    found = "joy" if place < share * prompts else "anger"
                    scores = np.zeros(28, dtype=np.float32)
                    scores[INDEX[found]] = 0.9
                    rows.append(
                        {
                            "model": model, "train_seed": 0, "prompt_id": f"{asked}/{place:02d}", "sample": sample,
                            "instruction_emotion": asked, "response_emotion": found, "scores": scores,
                            "response": f"An answer about {asked} number {place}.", "finished": place % 2 == 0,
                        }
                    )  # fmt: skip
    return pd.DataFrame(rows)


def test_change_is_paired_with_the_base_and_corrected():
    answers = made_up_answers({"gpt2": 0.25, "gpt2-instr": 0.75})
    table = sentiment.change_table(answers, [Comparison("gpt2-instr", "gpt2", TUNED)], "group")
    positive = table[(table["row"] == "positive") & (table["outcome"] == "positive")].iloc[0]
    assert positive["change"] == 50.0 and positive["low"] < 50 < positive["high"]
    assert positive["p"] == pytest.approx(binomtest(10, 10).pvalue, rel=0.01)
    assert positive["p_holm"] > positive["p"]
    assert set(table["model"]) == {"gpt2-instr"}


def test_what_a_control_did_is_told_apart_and_each_kind_corrected_by_itself():
    answers = made_up_answers({"gpt2": 0.25, "gpt2-instr": 0.75, "gpt2-orig": 0.5})
    against_base = Comparison("gpt2-instr", "gpt2", TUNED)
    pairs = [Comparison("gpt2-instr", "gpt2-orig", CONTROLLED), against_base, Comparison("gpt2-orig", "gpt2", CONTROL)]
    table = sentiment.change_table(answers, pairs, "group")
    positive = table[(table["row"] == "positive") & (table["outcome"] == "positive")]
    columns = ["comparison", "model", "against", "change"]
    assert positive[columns].to_numpy().tolist() == [
        ["tuned - control", "gpt2-instr", "gpt2-orig", 25.0],
        ["tuned - base", "gpt2-instr", "gpt2", 50.0],
        ["control - base", "gpt2-orig", "gpt2", 25.0],
    ]
    alone = sentiment.change_table(answers, [against_base], "group")
    beside = table[table["comparison"] == "tuned - base"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, beside)
    by_emotion = sentiment.change_table(answers, pairs, "emotion")
    figure = sentiment_figures.change_per_emotion(by_emotion, table, ["gpt2"])
    (panel,) = figure.axes
    said = [text.get_text() for text in panel.get_legend().get_texts()]
    assert said == ["against gpt2-orig", "against gpt2"] and figure.get_suptitle().startswith(
        "Changes (tuned - control)"
    )


def test_samples_of_a_prompt_are_not_independent_cases():
    one = sentiment.sentiment_table(made_up_answers({"m": 0.5}), "group").iloc[0]
    ten = sentiment.sentiment_table(made_up_answers({"m": 0.5}, samples=10), "group").iloc[0]
    assert ten["n"] == 10 * one["n"]
    assert (ten["positive_low"], ten["positive_high"]) == (one["positive_low"], one["positive_high"])


def test_a_single_prompt_has_no_interval():
    table = sentiment.sentiment_table(made_up_answers({"m": 1.0}, prompts=1), "emotion")
    assert table["positive"].tolist() == [0.0 + 100, 100.0] and table["positive_low"].isna().all()
    pair = made_up_answers({"gpt2": 0.0, "gpt2-instr": 1.0}, prompts=1)
    change = sentiment.change_table(pair, [Comparison("gpt2-instr", "gpt2", TUNED)], "emotion")
    assert change["change"].tolist() == [100.0, 100.0]
    assert change[["low", "high"]].isna().all(axis=None) and change["p"].tolist() == [1, 1]


def test_with_several_seeds_prompts_and_seeds_are_both_drawn_and_both_spreads_are_told():
    answers = made_up_answers({"gpt2": 0.25, "gpt2-instr": 0.5}, emotions=("joy",))
    one = answers[answers["model"] == "gpt2-instr"]
    worse = made_up_answers({"gpt2-instr": 0.25}, emotions=("joy",))
    seeds = pd.concat([answers, worse.assign(train_seed=1), one.assign(train_seed=2)])
    table = sentiment.sentiment_table(seeds, "group").set_index("model")
    row, base = table.loc["gpt2-instr"], table.loc["gpt2"]
    assert row["positive"] == pytest.approx(100 * (0.5 + 0.25 + 0.5) / 3) and row["n"] == 60
    # By hand: the seeds' means are 50, 25, 50; five of twenty prompts differ, in one seed.
    rest = (5 * 2 / 3 - 20 * (2 / 3 * 0.25**2)) / (2 * 19)
    assert row["positive_sd_seeds"] == pytest.approx(100 * np.sqrt(np.var([0.5, 0.25, 0.5], ddof=1) - rest / 20))
    assert np.isnan(base["positive_sd_seeds"])
    alone = sentiment.sentiment_table(answers, "group").set_index("model").loc["gpt2-instr"]
    assert not [name for name in alone.index if "_sd_" in name]
    assert row["positive_high"] - row["positive_low"] > alone["positive_high"] - alone["positive_low"]
    against = [Comparison("gpt2-instr", "gpt2", TUNED)]
    changed = sentiment.change_table(seeds, against, "emotion").iloc[0]
    single = sentiment.change_table(answers, against, "emotion").iloc[0]
    assert changed["change"] == pytest.approx(100 / 6) and changed["sd_seeds"] == pytest.approx(
        row["positive_sd_seeds"]
    )
    assert changed["high"] - changed["low"] > single["high"] - single["low"] and "sd_seeds" not in single
    assert changed["p"] > single["p"]


def test_shuffled_control_tells_a_model_that_follows_from_one_that_does_not():
    always_joyful = made_up_answers({"m": 1.0})
    follows = pd.concat(
        [made_up_answers({"m": 1.0}, emotions=["joy"]), made_up_answers({"m": 0.0}, emotions=["anger"])]
    )
    blind = sentiment.shuffled_control(always_joyful, "study", 200, 0).set_index("measure")
    seeing = sentiment.shuffled_control(follows, "study", 200, 0).set_index("measure")
    assert blind.loc["top-1 hit", ["observed", "shuffled", "p"]].tolist() == [50.0, 50.0, 1.0]
    assert seeing.loc["top-1 hit", "observed"] == 100 and seeing.loc["top-1 hit", "p"] == pytest.approx(
        1 / 201, rel=0.01
    )
    assert seeing.loc["top-1 hit", "shuffled_high"] < 100


def test_asked_and_found_has_all_pairs_and_adds_up():
    table = sentiment.asked_and_found(made_up_answers({"m": 0.5}))
    assert len(table) == 28 * 28
    assert table["count"].sum() == 40
    assert table.loc[table["asked"] == "joy", "share"].sum() == pytest.approx(1)
    assert table.loc[table["asked"] == "love", "share"].isna().all()  # never asked: no share, not 0


def test_scores_of_answers_are_long_rows():
    answers = made_up_answers({"m": 0.5}, prompts=4)
    scores = sentiment_scores(answers, "study")
    assert set(scores["metric"]) == {"positive", "neutral", "negative", "top1", "top3"}
    joy = scores[(scores["group"] == "joy") & (scores["metric"] == "top1")]
    assert joy["value"].tolist() == [1, 1, 0, 0]
    texts = text_scores(answers)
    assert texts.loc[texts["metric"] == "finished", "value"].mean() == 0.5
    assert set(texts.loc[texts["item"] == "all", "metric"]) == {"distinct_1", "distinct_2"}


def with_empty(answers, *places):
    """Those answers are empty, and so show no emotion."""
    answers = answers.copy()
    answers.loc[list(places), ["response_emotion", "scores"]] = None
    answers.loc[list(places), "response"] = ""
    return answers


def test_an_empty_answer_is_in_no_share_and_counted_beside():
    answers = with_empty(made_up_answers({"m": 0.5}, prompts=4, samples=2), 0, 1, 2)  # joy/00 twice, joy/01 once
    table = sentiment.sentiment_table(answers, "group").set_index("row")
    counted = ["positive", "neutral", "negative", "n", "empty"]
    # One prompt of three is joyful: joy/01 counts as much as the others, though it has one answer and they have two.
    assert table.loc["positive", counted].tolist() == pytest.approx([100 / 3, 0, 200 / 3, 5, 3])
    assert table.loc["positive", "positive_count"] == 1
    assert table.loc["negative", counted].tolist() == [50, 0, 50, 8, 0]
    silent = with_empty(answers, *answers.index)
    table = sentiment.sentiment_table(silent, "all").iloc[0]
    assert table[["n", "empty"]].tolist() == [0, 16] and table[["positive", "neutral", "positive_low"]].isna().all()


def test_counts_alone_say_nothing_about_empty_answers(tmp_path):
    table = sentiment.sentiment_table(sentiment.read_counts(counts_file(tmp_path, PUBLISHED)), "group")
    assert "empty" not in table


def test_a_prompt_that_one_model_leaves_empty_is_not_compared():
    answers = with_empty(made_up_answers({"gpt2": 0.0, "gpt2-instr": 1.0}, prompts=4, emotions=["joy"]), 0)
    table = sentiment.change_table(answers, [Comparison("gpt2-instr", "gpt2", TUNED)], "group")
    assert table["prompts"].tolist() == [3, 3, 3] and table["change"].tolist() == [100, 0, -100]


def test_controls_are_about_what_was_said():
    answers = with_empty(made_up_answers({"m": 0.5}, prompts=4), 0, 4)
    assert sentiment.asked_and_found(answers)["count"].sum() == 6
    shuffled = sentiment.shuffled_control(answers, "study", 100, 0).set_index("measure")
    assert shuffled.loc["top-1 hit", "observed"] == pytest.approx(100 * 3 / 6)


def test_scores_tell_an_empty_answer_and_the_language_table_leaves_it_out():
    answers = with_empty(made_up_answers({"m": 0.5}, prompts=4), 0, 1)
    assert asked_is_among_first(answers.assign(instruction_emotion="neutral"), 1)[:2].all()
    scores, texts = sentiment_scores(answers, "study"), text_scores(answers)
    assert scores.loc[scores["metric"] == "neutral", "value"].tolist() == [1, 1, *[0] * 6]
    assert texts.loc[texts["metric"] == "empty", "value"].tolist() == [1, 1, *[0] * 6]
    assert len(texts[texts["metric"] == "repeated_3"]) == 6  # nothing to measure: no row
    row = sentiment.language_table(pd.concat([scores, texts], ignore_index=True)).iloc[0]
    # joy/02, joy/03 miss; of the four about anger two hit.
    assert (row["n"], row["empty"], row["top1"]) == (6, 2, pytest.approx(100 * 2 / 6))


def test_a_model_that_never_says_anything_has_no_number_and_is_not_compared():
    answers = made_up_answers({"gpt2": 0.25, "quiet": 0.5}, prompts=4)
    answers = with_empty(answers, *answers.index[answers["model"] == "quiet"])
    scores = pd.concat([sentiment_scores(answers, "study"), text_scores(answers)], ignore_index=True)
    language = sentiment.language_table(scores).set_index("model").loc["quiet"]
    assert (language["n"], language["empty"], language["words"]) == (0, 8, 0)
    assert language[["top1", "top1_low", "top1_high", "top3", "distinct_1", "repeated_3"]].isna().all()
    assert sentiment.change_table(answers, [Comparison("quiet", "gpt2", TUNED)], "group").empty
    heat = sentiment_figures.asked_found_heatmap(sentiment.asked_and_found(answers), "quiet")
    assert "0 of 0" in heat.axes[0].get_title(loc="left")


def test_variety_of_words():
    assert distinct_share(["a b a b"], 1) == 0.5
    assert distinct_share(["A b", "a, b!"], 2) == 0.5
    assert repeated_share("so glad so glad so glad so glad", 3) == pytest.approx(4 / 6)
    assert np.isnan(repeated_share("too short", 3))


def test_figures_are_drawn_from_tables_alone():
    answers = made_up_answers({"gpt2": 0.25, "gpt2-baby": 0.5, "gpt2-instr": 0.75})
    pairs = [Comparison("gpt2-baby", "gpt2", TUNED), Comparison("gpt2-instr", "gpt2", TUNED)]
    groups = sentiment.sentiment_table(answers, "group")
    figure = sentiment_figures.stacked_groups(groups)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "asked: positive (n = 20)",
        "asked: negative (n = 20)",
    ]
    by_emotion, by_group = (sentiment.change_table(answers, pairs, by) for by in ("emotion", "group"))
    change = sentiment_figures.change_per_emotion(by_emotion, by_group, ["gpt2"])
    assert len(change.axes) == 2
    heat = sentiment_figures.asked_found_heatmap(sentiment.asked_and_found(answers), "gpt2")
    assert "20 of 40" in heat.axes[0].get_title(loc="left")


def test_figures_of_no_trained_model_say_so():
    answers = made_up_answers({"gpt2": 0.25})
    change = sentiment.change_table(answers, [], "emotion")
    figure = sentiment_figures.change_per_emotion(change, change, ["gpt2"])
    assert figure.texts[0].get_text().startswith("There is no model that was trained") and figure.axes


def test_answers_stand_beside_what_each_judge_says_of_them():
    answers = made_up_answers({"gpt2": 0.5}, prompts=2).assign(score=0.9, instruction="Sing.", input="")
    answers.loc[0, "input"] = "Low."
    second = answers.assign(classifier="second", response_emotion="grief", score=np.nan)
    judged = pd.concat([answers.assign(classifier="first"), second], ignore_index=True)
    table = judgements(judged, "study")
    assert table["first"].tolist() == ["joy 0.90", "anger 0.90"] * 2
    assert set(table["second"]) == {"grief"}  # nothing to score
    assert table["group"].tolist() == ["positive", "negative"] * 2  # as the first finds
    assert table["prompt"].tolist() == ["Sing.\nLow.", "Sing.", "Sing.", "Sing."]
    assert table["asked"].tolist() == ["joy", "joy", "anger", "anger"]
    none = judged["response_emotion"].where(judged["response"].eq(""))
    empty = judgements(judged.assign(response="", response_emotion=none, score=np.nan), "study")
    assert empty[["first", "second", "group"]].isna().all(axis=None)


def test_language_table_puts_costs_beside_sentiment():
    answers = made_up_answers({"m": 0.5}, prompts=4)
    plain = pd.DataFrame(
        [
            {"item": str(i), "metric": metric, "value": value}
            for i in range(3)
            for metric, value in (("nats", 20.0), ("tokens", 10.0), ("characters", 40.0))
        ]
    ).assign(model="m", train_seed=0, task="plain_text", sample=0, group="plain text")
    scores = pd.concat([sentiment_scores(answers, "study"), text_scores(answers), plain], ignore_index=True)
    row = sentiment.language_table(scores).iloc[0]
    assert row["perplexity"] == pytest.approx(np.exp(2), abs=0.01)
    assert row["perplexity_low"] == pytest.approx(row["perplexity"]) == row["perplexity_high"]  # all passages alike
    assert row["bits_per_character"] == pytest.approx(60 / np.log(2) / 120, abs=0.001)
    assert (row["top1"], row["cut"], row["empty"], row["n"]) == (50.0, 50.0, 0, 8)


def test_counts_of_a_real_run_pass_through(tmp_path, real_data):
    source = real_data / "paper_artifacts" / "sentiment_analysis_detailed_results.json"
    rows = [
        f"{model},{asked},{found},{count}"
        for asked, models in json.loads(source.read_text(encoding="utf-8")).items()
        for model, results in models.items()
        for found, count in results["counts"].items()
    ]
    table = sentiment.sentiment_table(sentiment.read_counts(counts_file(tmp_path, rows)), "emotion")
    admiration = table[table["row"] == "admiration"].set_index("model")
    assert admiration.loc["original", ["positive", "neutral"]].tolist() == [30.0, 70.0]
    assert admiration.loc["finetuned", "positive_count"] == 26


def test_the_studys_own_json_of_counts_is_read_in_both_its_forms(tmp_path):
    found = {"joy": 3, "neutral": 1}
    plain, detailed = tmp_path / "plain.json", tmp_path / "detailed.json"
    plain.write_text(json.dumps({"anger": {"original": found}}))
    detailed.write_text(json.dumps({"anger": {"original": {"counts": found, "percentages": {"joy": 75.0}}}}))
    for path in (plain, detailed):
        table = sentiment.sentiment_table(sentiment.read_counts(path), "emotion", "study")
        assert table[["model", "row", "positive", "neutral"]].to_numpy().tolist() == [["original", "anger", 75.0, 25.0]]
    for content, message in (
        ('["joy"]', "record 1 is a text, not an object"),
        ('{"joy": 3}', "'joy' is 3, not an object; .* emotion → model"),
        ('{"joy": {"m": {"joy": true}}}', "'joy', 'm': 'count' is true, not a whole number"),
        ('{"joy": {"m": {"joy": NaN}}}', "'joy', 'm', 'joy': NaN is no value in JSON"),
        ('{"joy": {"m": {"counts": 3}}}', "'joy', 'm': it is 3, not an object"),
    ):
        plain.write_text(content)
        with pytest.raises(InputError, match=message):
            sentiment.read_counts(plain)


def test_tables_drawn_before_are_drawn_anew_only_where_an_answer_is_empty(tmp_path):
    tables = []
    for name, scores in (("full", [0.5, 0.25]), ("one_empty", [0.5, np.nan])):
        rows = {"model": "m", "train_seed": 0, "prompt_id": ["a", "b"], "sample": 0, "classifier": "c"}
        rows |= {"response_emotion": ["joy", "neutral"], "score": scores}
        tables.append(tmp_path / f"{name}.parquet")
        write_rows(tables[-1], pd.DataFrame(rows), EMOTIONS)
    assert empty_rule([tables[0], tmp_path / "not_made_yet.parquet"]) == {}
    assert list(empty_rule(tables)) == ["rule empty answers"]
