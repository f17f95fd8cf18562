"""The questionnaire: built from answers, filled in in a browser, analysed from what raters send back."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from browser import browser, downloads, wait_for  # noqa: F401 (fixtures)

from emogap.commands.cli import main
from emogap.errors import InputError, MissingInput, UsageError
from emogap.preference import questionnaire as preference
from emogap.preference.questionnaire import NONE, SHARES, Votes, preference_shares
from emogap.records import RESPONSES, write_rows
from emogap.store.views import cells
from emogap.text.statistics import wilson_interval

MODELS = ("smollm2-135m", "smollm2-135m-baby", "smollm2-135m-instr", "smollm2-135m-baby-instr")
TRICKY = 'An answer </script><b>bold</b> with "quotes", & a\nsecond line of {model} to {prompt}'


@pytest.fixture
def answered(make_config):
    """A home in which every model has answered six prompts, two samples each."""
    config = make_config()
    prompts = [("joy", 0), ("joy", 1), ("anger", 0), ("anger", 1), ("fear", 0), ("fear", 1)]
    for model in MODELS:
        rows = [
            {
                "model": model, "train_seed": 0, "prompt_id": f"{emotion}/{place:02d}", "sample": sample,
                "instruction_emotion": emotion, "instruction": f"Tell {emotion} {place}.", "input": "now" * place,
                "response": "no" if sample else TRICKY.format(model=MODELS.index(model), prompt=f"{emotion}{place}"),
                "finished": True,
            }
            for emotion, place in prompts
            for sample in range(2)
        ]  # fmt: skip
        path = config.home.responses(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, pd.DataFrame(rows), RESPONSES)
    return config


def build(config, tmp_path, prompts=4, checks=2):
    page = preference.build_questionnaire(config, tmp_path / "q", prompts, checks)
    text = page.read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    return text, data, json.loads((tmp_path / "q" / preference.KEY).read_text(encoding="utf-8"))


def test_page_is_blind_self_contained_and_complete(answered, tmp_path):
    text, data, key = build(answered, tmp_path)
    assert not re.search(r"""(src|href)=["']|https?://|@import""", text)
    assert "smollm2" not in text
    assert len(data["questions"]) == 6
    asked = [question for question in data["questions"] if question["id"] not in key["checks"]]
    assert {question["id"].split("/")[0] for question in asked} == {"joy", "anger", "fear"}
    for question in asked:
        assert {key["options"][option["id"]] for option in question["options"]} == set(MODELS)
        for option in question["options"]:
            expected = TRICKY.format(
                model=MODELS.index(key["options"][option["id"]]), prompt=question["id"].replace("/0", "")
            )
            assert option["text"] == expected


def test_the_order_in_the_page_does_not_tell_the_model(answered, tmp_path):
    _, data, key = build(answered, tmp_path, prompts=6, checks=0)
    orders = {tuple(key["options"][option["id"]] for option in question["options"]) for question in data["questions"]}
    assert len(orders) > 1


def test_building_twice_gives_the_same_questionnaire(answered, tmp_path):
    assert build(answered, tmp_path / "a") == build(answered, tmp_path / "b")


@pytest.mark.parametrize(("prompts", "checks", "message"), [(7, 0, "7 prompts"), (0, 0, "0 prompts"), (3, 9, "9 att")])
def test_impossible_questionnaires_are_refused(answered, tmp_path, prompts, checks, message):
    with pytest.raises(UsageError, match=message):
        preference.build_questionnaire(answered, tmp_path / "q", prompts, checks)
    assert not (tmp_path / "q").exists()


def test_without_answers_the_file_and_its_maker_are_named(make_config, tmp_path):
    with pytest.raises(MissingInput, match=r"responses/smollm2-135m\.parquet not found .*quantitative_analysis\.ipynb"):
        preference.build_questionnaire(make_config(), tmp_path / "q")


def filled_in(data, key, rater, favourite, miss_check=False):
    """A rater's file: always the favourite model, or ``none``."""
    rows = []
    for question in data["questions"]:
        if question["id"] in key["checks"]:
            right = key["checks"][question["id"]]
            wrong = next(option["id"] for option in question["options"] if option["id"] != right)
            choice = wrong if miss_check else right
        else:
            by_model = {key["options"][option["id"]]: option["id"] for option in question["options"]}
            choice = by_model.get(favourite, NONE)
        rows.append({"questionnaire": data["questionnaire"], "rater": rater, "prompt_id": question["id"],
                     "choice": choice, "reason": "why, \"because\"\nso", "shown": "", "seconds": 3})  # fmt: skip
    return pd.DataFrame(rows)


def test_votes_are_resolved_and_inattentive_raters_left_out(answered, tmp_path):
    _, data, key = build(answered, tmp_path)
    files = []
    for rater, favourite, miss in (("a", MODELS[2], False), ("b", NONE, False), ("c", MODELS[0], True)):
        files.append(tmp_path / f"{rater}.csv")
        filled_in(data, key, rater, favourite, miss).to_csv(files[-1], index=False)
    votes = preference.read_votes(files, tmp_path / "q" / preference.KEY)
    assert votes.inattentive == ["c"]
    assert votes.table.groupby("rater")["choice"].unique().map(list).to_dict() == {"a": [MODELS[2]], "b": [NONE]}
    row = preference.raters_table(votes).iloc[0]
    assert (row["raters"], row["left_out"], row["prompts"], row["choices"], row["none"]) == (2, 1, 4, 8, 4)
    table = preference.preference_table(votes)
    assert table.loc[0, ["model", "share", "votes"]].tolist() == [MODELS[2], 100.0, 4]
    assert table["votes"].sum() == 4 and len(table) == 4
    per_prompt = preference.prompts_table(votes)
    assert per_prompt[MODELS[2]].tolist() == [1] * 4 and per_prompt[NONE].tolist() == [1] * 4


def plain_votes(counts, raters=5):
    """Votes with models' names as choices, spread over raters."""
    choices = [model for model, count in counts.items() for _ in range(count)]
    rows = [{"rater": f"r{i % raters}", "prompt_id": f"p{i // raters}", "choice": c, "reason": ""}
            for i, c in enumerate(choices)]  # fmt: skip
    return pd.DataFrame(rows)


def test_table_4_from_votes_by_name(tmp_path):
    file = tmp_path / "votes.csv"
    counts = {"a": 148, "b": 64, "c": 30, "d": 14, "e": 12, "f": 6, "g": 2, "h": 2}
    plain_votes(counts).to_csv(file, index=False)
    table = preference.preference_table(preference.read_votes([file]))
    assert table["share"].tolist() == [100 * count / 278 for count in counts.values()]
    assert cells(table, SHARES)["share"].str.split().str[0].tolist() == [
        "53.2", "23.0", "10.8", "5.0", "4.3", "2.2", "0.7", "0.7",
    ]  # fmt: skip
    assert (table["low"] <= table["share"]).all() and (table["share"] <= table["high"]).all()
    assert table["strength"].round(6).is_monotonic_decreasing and table["strength"].sum() == pytest.approx(0, abs=0.05)
    # All sets are alike, so that strengths differ by the log of the ratio of votes.
    assert table["strength"][0] - table["strength"][1] == pytest.approx(np.log(148 / 64), abs=0.1)


def test_agreement_is_krippendorffs_alpha():
    rows = [("r1", "a"), ("r2", "a")] * 5 + [("r1", "b"), ("r2", "b")] * 5
    same = pd.DataFrame(
        [{"rater": r, "prompt_id": f"p{i // 2}", "choice": c, "reason": ""} for i, (r, c) in enumerate(rows)]
    )
    assert preference.agreement(Votes(same, ["a", "b"], [], {})) == pytest.approx(1)
    # Hand-computed: two raters, two units, pairs (a, a) and (a, b): 1 - 3 · 2 / (2 · 3 · 1) = 0.
    two = same.iloc[:4].assign(choice=["a", "a", "a", "b"])
    assert preference.agreement(Votes(two, ["a", "b"], [], {})) == pytest.approx(0)
    assert np.isnan(preference.agreement(Votes(same[same["rater"] == "r1"], ["a", "b"], [], {})))


def votes_by_name(tmp_path, rows, header="rater,prompt_id,choice,reason"):
    file = tmp_path / "votes.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return preference.read_votes([file])


def test_a_comma_behind_each_row_shifts_no_column(tmp_path):
    for header in ("rater,prompt_id,choice,reason", "rater,prompt_id,choice,reason,"):
        votes = votes_by_name(tmp_path, ["a,p1,gpt2,it is short,", "a,p2,none,dull,"], header)
        assert votes.models == ["gpt2"]
        assert votes.table.to_numpy().tolist() == [["a", "p1", "gpt2", "it is short"], ["a", "p2", "none", "dull"]]


def test_names_are_told_apart_by_letters_alone(tmp_path):
    decomposed, composed = "cafe\u0301", "caf\u00e9"
    rows = [
        "Ann,p1,GPT2 ,x", "ann ,p2, gpt2,x", "B,p1,None,x", "b,p2,NONE ,x", f"c,p1,{decomposed}  instr,x",
        f"c,p2,{composed} Instr,x",
    ]  # fmt: skip
    votes = votes_by_name(tmp_path, rows)
    assert votes.models == ["GPT2", f"{decomposed} instr"]
    assert votes.table["choice"].tolist() == ["GPT2", "GPT2", NONE, NONE, *[f"{decomposed} instr"] * 2]
    assert votes.table["rater"].tolist() == ["Ann", "Ann", "B", "B", "c", "c"]
    table = preference.preference_table(votes)
    assert table["votes"].tolist() == [2, 2] and table["share"].tolist() == [50.0, 50.0]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,p1,gpt2,x", "a,p2, ,x"], r"votes.csv, line 3: rater a says nothing about 'p2' \(choice ' '\); write none"),
        (["a,p1,NaN,x"], r"line 2: rater a says nothing about 'p1' \(choice 'NaN'\)"),
        (["a,p1,n/a,x"], "rater a says nothing about 'p1'"),
        ([" ,p1,gpt2,x"], "line 2: 'rater' is ' ', empty"),
        (["nan,p1,gpt2,x"], "line 2: 'rater' is 'nan', what stands for a missing value"),
        (["a,,gpt2,x"], "line 2: 'prompt_id' is '', empty"),
        (["Ann,p1,gpt2,x", "b,p1,gpt2,x", " ANN,p1 ,m,x"], "line 4: rater Ann answers 'p1' twice"),
        (["a,p1,gpt2"], "line 2: 3 fields, not the 4 of the first line"),
        (["a,p1,gpt2,because, as I said"], "line 2: 5 fields, not the 4 of the first line; quote a text"),
        (['a,"p\n1",,x'], r"line 2: rater a says nothing about 'p\\n1'"),
        ([], "no answer is in it"),
    ],
)
def test_votes_that_say_nothing_are_named(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        votes_by_name(tmp_path, rows)


def test_names_of_a_page_are_found_in_any_case(answered, tmp_path):
    _, data, key = build(answered, tmp_path)
    table = filled_in(data, key, "a", MODELS[1])
    table["choice"] = table["choice"].map(lambda name: f" {name.upper()} ")
    table.to_csv(tmp_path / "a.csv", index=False)
    votes = preference.read_votes([tmp_path / "a.csv"], tmp_path / "q" / preference.KEY)
    assert votes.inattentive == [] and set(votes.table["choice"]) == {MODELS[1]}
    by_name = tmp_path / "b.csv"
    plain_votes({"gpt2": 2}).to_csv(by_name, index=False)
    with pytest.raises(InputError, match="b.csv, line 2 belongs to another questionnaire"):
        preference.read_votes([tmp_path / "a.csv", by_name], tmp_path / "q" / preference.KEY)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="reason"), "has no column reason"),
        (lambda t: pd.concat([t, t]), "rater a answers .* twice"),
        (lambda t: t.assign(choice="x"), "'x' is no answer to"),
        (lambda t: t.assign(prompt_id=[f"joy/9{i}" for i in range(len(t))]), "is no question"),
        (lambda t: t.assign(questionnaire="other"), "belongs to another questionnaire"),
    ],
)
def test_bad_files_are_named(answered, tmp_path, change, message):
    _, data, key = build(answered, tmp_path)
    file = tmp_path / "a.csv"
    change(filled_in(data, key, "a", MODELS[0])).to_csv(file, index=False)
    with pytest.raises(InputError, match=message):
        preference.read_votes([file], tmp_path / "q" / preference.KEY)


def test_a_missing_key_is_named(answered, tmp_path):
    _, data, key = build(answered, tmp_path)
    filled_in(data, key, "a", MODELS[0]).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(MissingInput, match="give the questionnaire.key.json"):
        preference.read_votes([tmp_path / "a.csv"], tmp_path / "nowhere.json")


def test_commands_build_and_analyse(answered, tmp_path, capsys):
    home = ["--home", str(answered.home.root), "--set", "controls=false"]
    assert main(["questionnaire", "build", "--prompts", "3", "--checks", "1", *home]) == 0
    folder = answered.home.evaluation / "questionnaire"
    text = (folder / preference.PAGE).read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    key = json.loads((folder / preference.KEY).read_text(encoding="utf-8"))
    file = tmp_path / "a.csv"
    filled_in(data, key, "a", MODELS[1]).to_csv(file, index=False)
    assert main(["questionnaire", "analyse", str(file), *home]) == 0
    assert "100 [44, 100]" in capsys.readouterr().out
    for name in ("tables/preference.csv", "tables/preference.tex", "figures/preference.png"):
        assert (answered.home.evaluation / name).exists()


def test_figure_names_the_winner(tmp_path):
    file = tmp_path / "votes.csv"
    plain_votes({"gpt2": 4, "gpt2-instr": 36}).to_csv(file, index=False)
    table = preference.preference_table(preference.read_votes([file]))
    figure = preference_shares(table, ["gpt2"])
    assert "gpt2-instr is preferred" in figure.axes[0].get_title(loc="left")


@pytest.mark.parametrize("votes", [{"gpt2": 5, "gpt2-instr": 7}, {"gpt2": 6, "gpt2-instr": 6}, {"gpt2-instr": 1}])
def test_figure_names_no_winner_where_the_intervals_meet(votes):
    """Also of a single choice, which has no interval."""
    table = preference.preference_table(Votes(plain_votes(votes), ["gpt2", "gpt2-instr"], [], {}))
    figure = preference_shares(table, ["gpt2"])
    assert "preferred" not in figure.axes[0].get_title(loc="left")


def test_raters_are_drawn_as_prompts_are():
    """By hand: a single rater is a share of prompts; raters of one mind add nothing; raters who differ take away."""
    one = Votes(plain_votes({"a": 14, "b": 6}, raters=1), ["a", "b"], [], {})
    low, high = preference.preference_table(one).loc[0, ["low", "high"]]
    assert (low, high) == pytest.approx([100 * end for end in wilson_interval(14, 20)])
    alike = Votes(pd.concat([one.table.assign(rater=f"r{n}") for n in range(4)]), ["a", "b"], [], {})
    assert preference.preference_table(alike).loc[0, ["low", "high"]].tolist() == pytest.approx([low, high])
    minds = {"r0": "a", "r1": "a", "r2": "b", "r3": "a"}
    apart = Votes(alike.table.assign(choice=alike.table["rater"].map(minds)), ["a", "b"], [], {})
    row = preference.preference_table(apart).loc[0]
    assert row["share"] == 75 and row["high"] - row["low"] > high - low


@pytest.mark.slow
def test_questionnaire_in_a_browser(answered, tmp_path, browser, downloads):  # noqa: F811
    from selenium.webdriver.common.by import By

    _, data, key = build(answered, tmp_path)
    page = tmp_path / "q" / preference.PAGE

    def find(selector):
        return browser.find_element(By.CSS_SELECTOR, selector)

    def begin():
        browser.get(page.as_uri())
        find("#rater").send_keys("Ada Ω")
        find("#begin").click()

    begin()
    orders = []
    for place in range(6):
        assert find("#place").text == f"{place + 1} of 6"
        if place == 2:  # nothing chosen: the page stays and says so
            find("#next").click()
            assert "choose an answer" in find("#warning").text
        if place == 3:  # closed and opened again: it goes on where it was
            begin()
            assert find("#place").text == "4 of 6"
        instruction = find("#question").text.split("\n")[0]
        question = next(q for q in data["questions"] if q["instruction"] == instruction)
        radios = browser.find_elements(By.CSS_SELECTOR, "#options input")
        orders.append([radio.get_attribute("value") for radio in radios])
        assert set(orders[-1]) == {option["id"] for option in question["options"]} | {NONE}
        wanted = key["checks"].get(question["id"])
        if wanted is None:
            wanted = next(option["id"] for option in question["options"] if key["options"][option["id"]] == MODELS[2])
            label = next(radio for radio in radios if radio.get_attribute("value") == wanted).find_element(
                By.XPATH, ".."
            )
            assert "</script><b>bold</b>" in label.text  # shown as text, never run
        next(radio for radio in radios if radio.get_attribute("value") == wanted).click()
        find("#reason").clear()
        find("#reason").send_keys('nice, "warm"')
        find("#next").click()
    find("#save").click()
    file = wait_for(lambda: next(downloads.glob("*.csv"), None), what="the saved file")
    assert file.name == "answers-Ada_Ω.csv"

    votes = preference.read_votes([file], tmp_path / "q" / preference.KEY)
    assert votes.inattentive == [] and set(votes.table["choice"]) == {MODELS[2]}
    assert set(votes.table["reason"]) == {'nice, "warm"'} and set(votes.table["rater"]) == {"Ada Ω"}
    saved = pd.read_csv(file, dtype=str).set_index("prompt_id")["shown"]
    assert sorted(saved.str.split().map(tuple)) == sorted(tuple(o for o in order if o != NONE) for order in orders)
