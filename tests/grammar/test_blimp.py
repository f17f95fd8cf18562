"""Minimal pairs: what is read and refused, scores equal to lm-eval's, nothing finished lost, the statistics."""

import gzip
import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_models import save_tiny_gpt2, save_tiny_llama

from emogap.commands.cli import main
from emogap.config import HubModel
from emogap.errors import InputError, MissingInput, UsageError
from emogap.grammar import blimp_tables
from emogap.grammar.blimp import BLIMP, Pair, load_pairs, pair_cases, phenomena, read_subset
from emogap.grammar.blimp_tables import blimp_drawing, blimp_exhibits
from emogap.grammar.figures import differences_figure
from emogap.grammar.tasks import Measured, score_cases
from emogap.lm.hub import LocalModel
from emogap.lm.score_cache import remembered_scores
from emogap.lm.sentence_scores import Scored, SentenceScorer
from emogap.paths import from_root
from emogap.store import pieces
from emogap.store.artefacts import read_manifest
from emogap.store.exhibits import Exhibit, exhibits, read_table, save_table, show, shown_table
from emogap.text.statistics import sign_flip_p, wilson_interval
from emogap.train.models import TUNED, Comparison, bases_of, named_models

SAMPLE = from_root("data/sample/blimp")
GOOD, BAD = "The dogs bark.", "The dogs barks."
TUNED_MINUS_BASE = [Comparison("tuned", "base", TUNED)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny-baby", seed=1)


def write(folder: Path, uid: str, *records: dict) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{uid}.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def pair(good: str = GOOD, bad: str = BAD, **more) -> dict:
    return {"sentence_good": good, "sentence_bad": bad, **more}


# --- reading ---------------------------------------------------------------------------------------------------------


def test_all_forms_of_pairs_are_read(tmp_path):
    write(tmp_path, "transitive", pair(UID="transitive", pairID="7"))  # as BLiMP's own files are
    with gzip.open(tmp_path / "causative.jsonl.gz", "wt") as file:
        file.write(json.dumps(pair(UID="causative", pair_id=3)) + "\n\n")
    write(tmp_path, "hypernym", pair(), pair("A.", "B."))  # the supplement, neither named nor numbered
    write(tmp_path, "mine", pair(phenomenon="own thing"))
    (tmp_path / "inchoative").mkdir()
    hub = pd.DataFrame([pair(UID="inchoative", pair_id=0)])
    hub.to_parquet(tmp_path / "inchoative" / "train-00000-of-00001.parquet")
    assert [(p.item, p.phenomenon) for p in load_pairs(tmp_path)] == [
        ("causative/3", "argument_structure"),
        ("hypernym/0", "hypernym"),
        ("hypernym/1", "hypernym"),
        ("inchoative/0", "argument_structure"),
        ("mine/0", "own thing"),
        ("transitive/7", "argument_structure"),
    ]


def test_real_paradigms_belong_to_twelve_phenomena(real_data):
    pairs = load_pairs(real_data / "blimp")
    assert len(pairs) == 20_100
    theirs = json.loads((real_data / "blimp/phenomena.json").read_text())["paradigm_to_phenomenon"]
    assert {p.uid: p.phenomenon for p in pairs} == {uid: entry["phenomenon"] for uid, entry in theirs.items()}
    assert len({p.phenomenon for p in pairs}) == 12


def test_a_list_of_items_chooses_before_items_are_counted(tmp_path):
    listed = tmp_path / "ids.json"
    listed.write_text(json.dumps({"transitive": [1, 2, "4", 999]}))
    subset = read_subset(listed)
    assert [p.item for p in load_pairs(SAMPLE, subset=subset)] == ["transitive/1", "transitive/2", "transitive/4"]
    assert [p.item for p in load_pairs(SAMPLE, 2, subset)] == ["transitive/1", "transitive/2"]
    with pytest.raises(InputError, match="none of the pairs"):
        load_pairs(SAMPLE, subset={"causative": {0}})


# --- one line for what is wrong --------------------------------------------------------------------------------------

BAD_FILES = {
    "no good sentence": ([{"sentence_bad": BAD}], "no 'sentence_good'"),
    "no bad sentence": ([{"sentence_good": GOOD}], "no 'sentence_bad'"),
    "no phenomenon": ([pair(UID="nonsense")], "paradigm 'nonsense' belongs to no phenomenon"),
    "empty sentence": ([pair(), pair(bad="  ")], "line 2: 'sentence_bad' is '  ', empty"),
    "no number": ([pair(pair_id="first")], "line 1: 'pair_id' is 'first', not a whole number"),
    "twice": ([pair(pair_id=4), pair(pair_id=4)], "pair 4 of transitive stands twice"),
    "half a number": ([pair(pair_id=3.7)], "'pair_id' is 3.7, not a whole number"),
    "a truth value": ([pair(pair_id=True)], "'pair_id' is true, not a whole number"),
    "a number for a sentence": ([pair(good=5)], "'sentence_good' is 5, not a text"),
    "a number for a paradigm": ([pair(UID=7)], "'UID' is 7, not a text"),
    "no object": ([["a", "b"]], "record 1 is a text, not an object"),
}


def run(*words, capsys) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def complaint(*words, capsys) -> str:
    """What a command says that ends with code 1 and a single line (bars of loading models aside)."""
    code, _, err = run(*words, capsys=capsys)
    assert code == 1
    said = [line for line in err.split("\r")[-1].splitlines() if line.startswith("emogap:")]
    assert len(said) == 1
    return said[0]


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_the_line(name, tmp_path, gpt2, capsys):
    records, message = BAD_FILES[name]
    write(tmp_path / "data", "transitive", *records)
    said = complaint("blimp", "--model", gpt2, "--data", tmp_path / "data", capsys=capsys)
    assert message in said
    assert "transitive.jsonl" in said


def test_files_that_cannot_be_read(tmp_path, gpt2, capsys):
    data = tmp_path / "data"
    words = ("blimp", "--model", gpt2, "--data", data)
    data.mkdir()
    assert "no minimal pairs" in complaint(*words, capsys=capsys)
    (data / "transitive.jsonl").write_text('{"sentence_good": ')
    assert "line 1: not JSON" in complaint(*words, capsys=capsys)
    (data / "transitive.jsonl").write_bytes(b"\xff\xfe")
    assert "transitive.jsonl is empty" in complaint(*words, capsys=capsys)
    (data / "transitive.jsonl").write_bytes(b"\n")
    assert "transitive.jsonl has no minimal pair" in complaint(*words, capsys=capsys)
    (data / "transitive.jsonl").write_bytes(gzip.compress(json.dumps(pair()).encode())[:-8])
    assert "transitive.jsonl cannot be unpacked" in complaint(*words, capsys=capsys)


def test_bad_lists_models_and_published_tables(tmp_path, gpt2, capsys):
    words = ("blimp", "--data", SAMPLE, "--items", "1", "--model")
    listed = tmp_path / "ids.json"
    assert "ids.json not found" in complaint(*words, gpt2, "--subset", listed, capsys=capsys)
    listed.write_text('{"transitive": "all"}')
    assert "'transitive' is 'all', not a list" in complaint(*words, gpt2, "--subset", listed, capsys=capsys)
    listed.write_text('{"transitive": [true]}')
    assert "is true, not a whole number" in complaint(*words, gpt2, "--subset", listed, capsys=capsys)
    bare = shutil.copytree(gpt2, tmp_path / "bare")
    for file in bare.glob("tokenizer*"):
        file.unlink()
    assert f"{bare} has no tokenizer" in complaint(*words, bare, capsys=capsys)
    assert "nobody/nothing (revision main)" in complaint(*words, "nobody/nothing", capsys=capsys)
    assert "run casual_lm.ipynb" in complaint(*words, "smollm2-135m-baby", "--home", tmp_path / "home", capsys=capsys)
    table = tmp_path / "table.csv"
    table.write_text("model,accuracy\n")
    assert "has no column phenomenon" in complaint(*words, gpt2, "--published", table, capsys=capsys)


# --- scores ----------------------------------------------------------------------------------------------------------


class ByLength:
    """A scorer that likes short sentences: minus the number of words. Counts what it is asked; may die."""

    token_budget = 1

    def __init__(self, weights: str = "0" * 64, dies_after: int = 10**6):
        self.weights, self.dies_after = weights, dies_after
        self.asked: list[Scored] = []

    def scoring_mode(self, longest: int) -> str:
        return ""

    def weights_sha256(self) -> str:
        return self.weights

    def encode(self, sentence: str) -> Scored:
        return Scored(tuple(sentence.encode()), 1)

    def log_probabilities(self, scored, on_done):
        if len(self.asked) >= self.dies_after:
            raise KeyboardInterrupt
        self.asked += scored
        return np.array([-float(bytes(one.ids).count(b" ")) for one in scored])


PAIRS = [
    Pair("transitive", 0, "argument_structure", "a b", "a b c"),
    Pair("transitive", 1, "argument_structure", "a b c", "a b"),
    Pair("causative", 0, "argument_structure", "a b", "c d"),
    Pair("wh_island", 0, "island_effects", "a b", "a b c d"),
]


def score_pairs(scorer, pairs, label) -> pd.DataFrame:
    return score_cases(scorer, pair_cases(pairs), label)


def test_right_wrong_and_a_tie():
    table = score_pairs(ByLength(), PAIRS, "some")
    values = table.pivot(index="item", columns="metric", values="value")
    assert values["correct"].to_dict() == {"transitive/0": 1, "transitive/1": 0, "causative/0": 0.5, "wh_island/0": 1}
    assert values.loc["wh_island/0", ["logprob_good", "logprob_bad"]].tolist() == [-1, -3]
    assert table.loc[table["item"] == "wh_island/0", "group"].unique().tolist() == ["island_effects"]


def test_what_a_killed_run_finished_is_not_scored_again(tmp_path):
    killed = ByLength(dies_after=5)  # when two of three paradigms are done
    with pytest.raises(KeyboardInterrupt):
        score_pairs(killed, PAIRS, "some")
    assert len(killed.asked) == 6
    resumed = ByLength()
    table = score_pairs(resumed, PAIRS, "some")
    assert [bytes(one.ids) for one in resumed.asked] == [b"a b", b"a b c d"]
    assert len(table) == 12
    again = ByLength()
    assert score_pairs(again, PAIRS, "some").equals(table)
    assert again.asked == []


def test_no_model_gets_anothers_scores(gpt2, other, tmp_path):
    folder = shutil.copytree(gpt2, tmp_path / "model")
    pairs = load_pairs(SAMPLE, 1)
    first = score_pairs(SentenceScorer(LocalModel(folder, "model")), pairs, "model")
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")  # trained on: same folder, same name
    second = score_pairs(SentenceScorer(LocalModel(folder, "model")), pairs, "model")
    logprobs = first["metric"] != "correct"
    assert (first.loc[logprobs, "value"] != second.loc[logprobs, "value"]).all()
    assert len(list((tmp_path / "cache/scores").iterdir())) == 2
    expected = SentenceScorer(LocalModel(other, "other")).scores([pair.good for pair in pairs])
    assert np.allclose(second.loc[second["metric"] == "logprob_good", "value"], expected, atol=1e-4)


def test_other_tokens_are_other_scores(tmp_path):
    scorer, nothing = ByLength(), lambda count: None
    [first] = remembered_scores(scorer, [[Scored((1, 2, 3), 1)]], nothing)
    [later] = remembered_scores(scorer, [[Scored((1, 2, 3), 2)]], nothing)
    [longer] = remembered_scores(scorer, [[Scored((1, 2, 32), 1)]], nothing)
    assert (first, later, longer) == (0, 0, -1)
    assert len(scorer.asked) == 3


# --- the command and the stage ---------------------------------------------------------------------------------------


def test_the_command_writes_scores_tables_and_figures(gpt2, other, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("blimp", "--model", other, "--base", gpt2, "--data", SAMPLE, "--items", "3", "--out", "scores.parquet")
    code, out, _ = run(*words, "--tables", "tables", "--paradigms", capsys=capsys)
    assert code == 0
    scores = pd.read_parquet("scores.parquet")
    assert len(scores) == 2 * 36 * 3
    assert set(scores["metric"]) == {"correct", "logprob_good", "logprob_bad"}
    assert set(scores["model"]) == {"tiny", "tiny-baby"}
    assert "transitive/0" in set(scores["item"])
    assert set(scores["group"]) == set(load_phenomena())
    for words in ("tiny-baby - tiny, all pairs", "mean of phenomena", "ties", "Empty context", "<|endoftext|>"):
        assert words in out
    assert {file.stem for file in Path("tables/tables").glob("*.csv")} == {
        "blimp_accuracy", "blimp_accuracy_paradigms", "blimp_differences", "blimp_differences_paradigms",
    }  # fmt: skip
    assert {file.stem for file in Path("tables/figures").glob("*.png")} == {
        "blimp_differences", "blimp_differences_paradigms",
    }  # fmt: skip


def load_phenomena() -> list[str]:
    return [pair.phenomenon for pair in load_pairs(SAMPLE)]


def test_the_stage_keeps_a_table_a_model_and_says_what_changed(gpt2, make_config):
    settings = (f'bases.tiny={{name="{gpt2}"}}', 'respond.models=["tiny"]', "blimp.items=2")
    config = make_config(*settings)
    summary = pieces.run("blimp", BLIMP.pieces(config))
    assert summary.counts == {"pairs": 24, "ties": 0}
    assert pieces.run("blimp", BLIMP.pieces(config)).fresh == ["blimp.parquet"]
    save_table(config.home.evaluation, Exhibit("blimp_accuracy_numbers", "table", "Old.", 71), pd.DataFrame({"a": [1]}))
    pieces.run("drawing", [blimp_drawing(config)])
    names = {one.name for one in exhibits(config.home.evaluation)}
    assert names == {"blimp_accuracy", "blimp_differences"}, "the twin that older versions wrote is taken away"
    manifest = read_manifest(config.home.task_scores("tiny", "blimp"))
    assert manifest["notes"]["empty context"] == "<|endoftext|>"
    changed = make_config(*settings, "blimp.empty_context=none", "blimp.token_budget=64")
    [artefact] = BLIMP.pieces(changed)
    assert artefact.freshness().reasons == ('blimp.empty_context "bos" → "none"',)


def test_models_by_whatever_they_are_called(gpt2, make_config, monkeypatch):
    config = make_config()
    monkeypatch.chdir(gpt2.parent)
    (gpt2.parent / "smollm2-135m").mkdir(exist_ok=True)  # a folder called like a model of the study is not that model
    models = named_models(config, ["tiny", str(gpt2), "smollm2-135m", "owner/name@abc", "embedded:minilm"])
    assert models == {
        "tiny": HubModel(name=str(gpt2)),
        "smollm2-135m": config.bases["smollm2-135m"],
        "name": HubModel(name="owner/name", revision="abc"),
        "minilm": HubModel(name="embedded:minilm"),
    }
    assert list(named_models(config, ["./smollm2-135m"]).values()) == [HubModel(name=str(gpt2.parent / "smollm2-135m"))]
    with pytest.raises(UsageError, match="two models are called 'name'"):
        named_models(config, ["owner/name", "another/name"])
    with pytest.raises(MissingInput, match="models/smollm2-135m-baby not found"):
        named_models(config, ["smollm2-135m-baby"])


def test_each_model_has_its_base():
    labels = ["gpt2", "gpt2-medium", "gpt2-baby", "gpt2-medium-baby.s1"]
    assert bases_of(labels, ["gpt2", "gpt2-medium"]) == {
        "gpt2": "gpt2", "gpt2-medium": "gpt2-medium", "gpt2-baby": "gpt2", "gpt2-medium-baby.s1": "gpt2-medium",
    }  # fmt: skip
    assert bases_of(["a", "b"], ["b"]) == {"a": "b", "b": "b"}
    assert bases_of(["a", "b"], []) == {"a": "a", "b": "b"}
    with pytest.raises(UsageError, match="'mine' begins with none of gpt2-medium, gpt2"):
        bases_of(["mine"], ["gpt2", "gpt2-medium"])


# --- statistics ------------------------------------------------------------------------------------------------------


def correct(**models: list[float]) -> pd.DataFrame:
    """Two paradigms of argument structure, of three pairs and one, and one of island effects, of four."""
    items = ["transitive/0", "transitive/1", "transitive/2", "causative/0", *(f"wh_island/{n}" for n in range(4))]
    group = [phenomena()[item.split("/")[0]] for item in items]
    tables = [
        pd.DataFrame({"model": m, "train_seed": 0, "item": items, "group": group, "value": v})
        for m, v in models.items()
    ]
    return pd.concat(tables, ignore_index=True)


def test_pairs_pooled_and_paradigms_averaged():
    table = blimp_tables.accuracies(correct(a=[1, 1, 1, 0, 1, 0.5, 0, 0])).set_index("group")
    structure, everything = table.loc["argument_structure"], table.loc["all pairs"]
    assert (structure["accuracy"], structure["mean_of_paradigms"]) == (75, 50)
    assert (structure["pairs"], structure["paradigms"], structure["ties"]) == (4, 2, 0)
    assert structure[["low", "high"]].round(1).tolist() == [30.1, 95.4]  # Wilson's for 3 of 4
    assert (everything["accuracy"], everything["ties"]) == (56.25, 1)
    assert table.loc["mean of phenomena", "accuracy"] == (75 + 37.5) / 2
    assert table.loc["mean of phenomena", "mean_of_paradigms"] == (50 + 37.5) / 2


def test_accuracies_are_numbers_in_the_file_and_side_by_side_where_they_are_read(make_config, tmp_path):
    values = correct(a=[1, 1, 1, 0, 1, 0.5, 0, 0], b=[1] * 8).assign(metric="correct")
    config = make_config("blimp.paradigms=true")
    show(tmp_path, blimp_exhibits(config, Measured(values, [], ["a", "b"], {})))
    numbers = read_table(tmp_path / "tables" / "blimp_accuracy.csv").set_index(["model", "phenomenon"])
    assert numbers.loc[("a", "argument_structure"), ["accuracy", "ties", "mean_of_paradigms"]].tolist() == [75, 0, 50]
    assert numbers.loc[("a", "all pairs"), "low"] == pytest.approx(100 * wilson_interval(4.5, 8)[0], rel=1e-12)
    assert shown_table(tmp_path, "blimp_accuracy").to_numpy().tolist() == [
        ["argument_structure", "4", "75 [30, 95]", "100 [51, 100]"],
        ["island_effects", "4", "38 [9, 78]", "100 [51, 100]"],
        ["all pairs", "8", "56 [26, 83]", "100 [68, 100]"],
        ["mean of phenomena", "8", "56 [27, 82]", "100 [68, 100]"],
        ["ties", "8", "1", "0"],
    ]
    assert shown_table(tmp_path, "blimp_accuracy_paradigms").iloc[-2:, 0].tolist() == ["mean of paradigms", "ties"]
    latex = (tmp_path / "tables" / "blimp_accuracy.tex").read_text(encoding="utf-8")
    assert "75 [30, 95] & 100 [51, 100]" in latex


def test_a_model_is_compared_with_its_base_over_the_same_pairs():
    values = correct(base=[1, 1, 0, 0, 1, 0, 0, 0], tuned=[1, 0, 1, 1, 1, 0, 0, 0.5])
    table = blimp_tables.differences(values, TUNED_MINUS_BASE).set_index("group")
    assert set(table["model"]) == {"tuned"}
    row = table.loc["argument_structure"]
    assert (row["gained"], row["lost"], row["difference"]) == (2, 1, 25)
    assert row["low"] < 0 < row["high"]
    assert table.loc["all pairs", "difference"] == 100 * 1.5 / 8
    assert table.loc["mean of phenomena", "difference"] == (25 + 12.5) / 2
    assert (table["p_holm"] >= table["p"]).all()
    assert blimp_tables.differences(values, []).empty
    with pytest.raises(InputError, match="different items"):
        blimp_tables.differences(values.iloc[1:], TUNED_MINUS_BASE)


def test_the_figure_of_differences_takes_the_table_as_it_is_written():
    row = {
        "model": "gpt2-instr",
        "base": "gpt2",
        "phenomenon": "binding",
        "pairs": 5,
        "difference": 2.0,
        "low": -1.0,
        "high": 5.0,
    }
    written = pd.DataFrame([row | {"p_holm": 1.0}])
    drawn = differences_figure(written, ["gpt2"]).axes[0]
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["binding (n=5)"]
    nothing = differences_figure(written.iloc[:0], ["gpt2"])
    assert nothing.texts[0].get_text().startswith("There is no model that was trained")


def test_without_ties_the_test_is_mcnemars():
    from scipy.stats import binomtest

    change = np.array([1.0] * 9 + [-1.0] * 2 + [0.0] * 30)
    assert sign_flip_p(change) == pytest.approx(binomtest(9, 11).pvalue)
    assert sign_flip_p(np.zeros(5)) == 1


def test_with_ties_every_exchange_of_the_two_models_counts():
    change = np.array([1, 1, 1, 0.5, 0.5, -0.5, -1])
    sums = [abs(np.dot(signs, change)) for signs in itertools.product((-1, 1), repeat=len(change))]
    assert sign_flip_p(change) == pytest.approx(np.mean(np.array(sums) >= change.sum()))


def test_a_difference_that_is_there_is_found_in_the_mean_of_phenomena():
    rng = np.random.default_rng(0)
    items = [f"{uid}/{n}" for uid in ("transitive", "wh_island") for n in range(300)]
    group = [phenomena()[item.split("/")[0]] for item in items]
    base = (rng.random(600) < 0.6).astype(float)
    better = np.where(rng.random(600) < 0.2, 1.0, base)
    same = np.where(rng.random(600) < 0.1, 1 - base, base) if rng else base
    tables = {"base": base, "better": better, "base2": base.copy(), "same": same}
    values = pd.concat(
        [
            pd.DataFrame({"model": m, "train_seed": 0, "item": items, "group": group, "value": v})
            for m, v in tables.items()
        ]
    )
    pairs = [Comparison(model, "base", TUNED) for model in ("better", "base2", "same")]
    found = blimp_tables.differences(values, pairs)
    mean = found[found["group"] == "mean of phenomena"].set_index("model")
    assert mean.loc["better", "p_holm"] < 1e-3 and mean.loc["better", "low"] > 0
    assert mean.loc["base2", "p"] == 1
    assert mean.loc["same", "low"] < mean.loc["same", "difference"] < mean.loc["same", "high"]


def test_published_accuracies_stand_beside(tmp_path, real_data):
    known = blimp_tables.published_accuracies(real_data / "paper_artifacts/blimp_results.csv")
    own = blimp_tables.published_accuracies()
    own = own[own["group"] != "mean of phenomena"]
    both = known.merge(own, on=["model", "group"], suffixes=("", "_own"))
    assert len(both) == len(own) == len(known) == 96
    assert np.allclose(both["published"], both["published_own"], atol=0.01)
    accuracies = blimp_tables.accuracies(correct(**{"gpt2-baby": [1] * 8, "mine": [0] * 8}))
    beside = blimp_tables.beside_published(accuracies, known)
    assert set(beside["model"]) == {"gpt2-baby"}
    assert beside["phenomenon"].tolist() == ["argument_structure", "island_effects", "mean of phenomena"]
    assert np.allclose(beside["difference"], beside["accuracy"] - beside["published"])
    assert "57,812" in blimp_tables.what_differs(8)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("m,x,nan", "line 2: 'accuracy' is 'nan', not a number"),
        ("m,x,inf", "'accuracy' is 'inf', not a number"),
        ("m,x,", "'accuracy' is '', not a number"),
        ("m,x,'0,98'", "line 2: 4 fields, not the 3"),
        ("m,x,0.9\nm,x,0.8", "line 3: m, x stands twice"),
        ("m,x,120", "'accuracy' is '120', input should be less than or equal to 100"),
        (",x,0.9", "line 2: 'model' is '', empty"),
        ("m,nan,0.9", "'phenomenon' is 'nan', what stands for a missing value"),
        ("", "has no accuracy"),
    ],
)
def test_published_accuracies_that_are_none(tmp_path, rows, message):
    file = tmp_path / "published.csv"
    file.write_text(f"model,phenomenon,accuracy\n{rows}\n")
    with pytest.raises(InputError, match=message):
        blimp_tables.published_accuracies(file)


def test_published_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInput, match="published accuracies"):
        blimp_tables.published_accuracies(tmp_path / "nothing.csv")


# --- the same numbers as EleutherAI's harness ------------------------------------------------------------------------


def harness_results(
    folder: Path, pairs: list[Pair], tmp_path: Path, batch_size: int
) -> tuple[np.ndarray, dict[str, float]]:
    """Scores (pairs, 2) and accuracies of a whole run of the harness, its tasks fed from files."""
    lm_eval = pytest.importorskip("lm_eval")
    from tools.benchmarks.blimp import task_files

    files = task_files(pairs, tmp_path)
    tasks, arguments = [str(file) for file in files], {"pretrained": str(folder), "dtype": "float32"}
    done = lm_eval.simple_evaluate(
        "hf", model_args=arguments, tasks=tasks, batch_size=batch_size, device="cpu", bootstrap_iters=0
    )
    rows = []
    for uid in dict.fromkeys(pair.uid for pair in pairs):
        samples = sorted(done["samples"][f"blimp_{uid}"], key=lambda sample: sample["doc_id"])
        rows += [[float(resp[0][0]) for resp in sample["resps"]] for sample in samples]
    accuracies = {uid.removeprefix("blimp_"): result["acc,none"] for uid, result in done["results"].items()}
    return np.array(rows), accuracies


def assert_parity(folder: Path, pairs: list[Pair], tmp_path: Path) -> None:
    theirs, accuracies = harness_results(folder, pairs, tmp_path, batch_size=16)
    table = score_pairs(SentenceScorer(LocalModel(folder, "model")), pairs, "model")
    values = table.pivot(index="item", columns="metric", values="value").loc[[pair.item for pair in pairs]]
    ours = values[["logprob_good", "logprob_bad"]].to_numpy()
    # A model may blow up rounding itself, and then the harness differs from itself at another batch size.
    rounding = np.abs(theirs - harness_results(folder, pairs, tmp_path, batch_size=1)[0])
    assert (np.abs(ours - theirs) < 1e-3 + rounding).all()
    assert np.quantile(rounding, 0.99) < 5e-4
    tied = theirs[:, 0] == theirs[:, 1]
    assert ((ours[:, 0] > ours[:, 1]) == (theirs[:, 0] > theirs[:, 1]))[~tied].all()
    # The harness gives a tie to the good sentence.
    harness = values["correct"].where(~tied, 1.0).groupby([pair.uid for pair in pairs]).mean()
    assert harness.to_dict() == pytest.approx(accuracies)


@pytest.mark.parametrize("save", [save_tiny_gpt2, pytest.param(save_tiny_llama, marks=pytest.mark.slow)])
def test_same_as_the_harness_on_tiny_models(save, tmp_path):
    assert_parity(save(tmp_path / "model"), load_pairs(SAMPLE)[:20], tmp_path)  # of four paradigms


@pytest.mark.slow
def test_same_as_the_harness_on_a_real_model(real_data, tmp_path):
    from emogap.lm.hub import resolve

    folder = resolve(HubModel(name="embedded:smollm2-135m-instruct")).path
    assert_parity(folder, load_pairs(real_data / "blimp", 4), tmp_path)


@pytest.mark.slow
def test_the_benchmark_compares_both(gpt2, capsys):
    pytest.importorskip("lm_eval")
    words = ["--model", str(gpt2), "--items", "2", "--tried", "1", "--batch-sizes", "4,8"]
    assert main(["bench", "blimp", *words]) == 0
    out = capsys.readouterr().out
    assert "MiB at most" in out
    assert "0 of 24 pairs are decided differently" in out
