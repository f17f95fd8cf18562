"""The challenge's evaluation: its folders as they are, by each year's rules, and the files that it takes."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_sets import concept, entities, pair, world, write_evaluation, write_set
from tiny_models import save_tiny_gpt2

from emogap.commands.cli import main
from emogap.config import HubModel
from emogap.errors import InputError, MissingInput
from emogap.grammar.blimp import BLIMP
from emogap.grammar.zero_shot import BABYLM, chosen_sets, is_evaluation, sets_in
from emogap.grammar.zero_shot_tables import export, subtask_scores
from emogap.paths import from_root
from emogap.store.pieces import run
from emogap.study.evaluate import evaluate_pieces

SETS = {
    "blimp_filtered": "blimp", "supplement_filtered": "blimp", "ewok_filtered": "ewok", "comps": "comps",
    "entity_tracking": "entity_tracking", "wug_adj_nominalization": "wug_adj", "wug_past_tense": "wug_past",
    "blimp_fast": "blimp", "entity_tracking_fast": "entity_tracking",
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny", dropout=0.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("data") / "evaluation_data")


@pytest.fixture
def scored(make_config, model):
    """Scores of some folders by the tiny model, as item and metric → value."""

    def score(*folders: Path, **settings) -> pd.Series:
        config = make_config().with_section("babylm", data=[str(folder) for folder in folders], **settings)
        found = BABYLM.of_models(config, {"tiny": HubModel(name=str(model))}).scores
        return found.set_index(["item", "metric"])["value"]

    return score


# --- reading ---------------------------------------------------------------------------------------------------------


def test_folders_are_known_by_their_files(data):
    sets, others = sets_in(data)
    assert {one.name: one.rule.name for one in sets} == SETS
    assert [folder.name for folder in others] == ["glue_filtered"]
    counted = {one.name: {record.subtask for record in one.records()} for one in sets}
    assert counted["comps"] == {"base", "wugs", "wugs_dist_before", "wugs_dist_in_between"}
    assert counted["ewok_filtered"] == {"agent-properties", "social-relations"}
    assert counted["entity_tracking_fast"] == {"regular_0_ops", "regular_1_ops", "regular_2_ops"}
    assert counted["supplement_filtered"] == {"hypernym", "turn_taking"}
    assert counted["wug_past_tense"] == {"wug_past"}


def test_what_is_left_out_is_said(make_config, data):
    config = make_config().with_section("babylm", data=[str(data)])
    assert chosen_sets(config)[1] == [
        "glue_filtered (no comparison of texts)", "reading (reading times are a regression)"
    ]  # fmt: skip
    asked, left = chosen_sets(config.with_section("babylm", convention="2024"))
    assert {one.rule.name for one in asked} == {"blimp", "ewok"}
    assert "comps (not asked in 2024)" in left


def test_minimal_pairs_that_lie_in_the_folder_itself_are_blimp_as_ever(data, tmp_path):
    assert not is_evaluation(from_root("data/sample/blimp"))
    assert not is_evaluation(data / "full_eval" / "supplement_filtered")
    assert not is_evaluation(tmp_path / "nothing")
    assert is_evaluation(data) and is_evaluation(data / "fast_eval") and is_evaluation(data / "full_eval" / "comps")


def test_two_sets_of_one_name_must_be_the_same(data, tmp_path):
    copy = shutil.copytree(data / "full_eval" / "comps", tmp_path / "comps")
    assert len(sets_in(data, tmp_path)[0]) == len(SETS)
    write_set(copy, comps_base=[concept(random.Random(5))])
    with pytest.raises(InputError, match="differ and have one name"):
        sets_in(data, tmp_path)


def test_a_folder_without_any_set(make_config, tmp_path):
    with pytest.raises(MissingInput, match="no set of the challenge's evaluation found"):
        chosen_sets(make_config().with_section("babylm", data=[str(tmp_path)]))


BAD = {
    "comps": ("base", {"prefix_acceptable": "a hen"}, "line 2: no 'prefix_unacceptable'"),
    "entity_tracking": ("regular", {"input_prefix": "x", "options": ["y"], "numops": 0}, "'options' is"),
    "ewok_filtered": ("x", {"Context1": "x", "Target1": "y", "Target2": "z", "Domain": 3}, "'Domain' is 3, not a text"),
    "wug_past_tense": ("past", {"sentences": "only one", "ratio": 0.5}, "not two sentences with a tab between them"),
    "blimp_filtered": ("transitive", {"sentence_good": " ", "sentence_bad": "x"}, "'sentence_good' is ' ', empty"),
}
GOOD = {
    "comps": concept(random.Random(0)), "entity_tracking": entities(random.Random(0), 1),
    "ewok_filtered": world(random.Random(0), "x"), "wug_past_tense": {"sentences": "a b\tc d", "ratio": "0.4"},
    "blimp_filtered": pair(random.Random(0)),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_named_with_its_line(name, tmp_path):
    file, record, message = BAD[name]
    write_set(tmp_path / name, **{file: [GOOD[name], record]})
    with pytest.raises(InputError, match=message):
        list(sets_in(tmp_path)[0][0].records())


# --- scores ----------------------------------------------------------------------------------------------------------


def by_torch(folder: Path, ids: list[int], counted: int, temperature: float = 1.0) -> float:
    """Log-probability of the last so many tokens, from the model's plain logits."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        logprobs = (model(torch.tensor([ids])).logits[0] / temperature).log_softmax(-1)
    return sum(logprobs[place - 1, ids[place]].item() for place in range(len(ids) - counted, len(ids)))


def tokens_of(folder: Path, text: str) -> list[int]:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)(text)["input_ids"]


def first_of(folder: Path, file: str) -> dict:
    return json.loads((folder / file).read_text().splitlines()[0])


def test_from_2025_on_the_tokenizer_says_what_counts(data, model, scored):
    folder = data / "full_eval"
    values = scored(folder, items=1)

    def holds(item: str, place: int, text: str, end: str | None = None) -> bool:
        """``end``: what of the text is scored; none: all but its first token, as nothing stands before that."""
        ids = tokens_of(model, text)
        expected = by_torch(model, ids, len(tokens_of(model, end)) if end else len(ids) - 1)
        return values[item, f"logprob_{place}"] == pytest.approx(expected, abs=1e-4)

    pairs = first_of(folder, "blimp_filtered/transitive.jsonl")
    assert holds("blimp_filtered/transitive/0", 0, pairs["sentence_good"])
    assert holds("blimp_filtered/transitive/0", 1, pairs["sentence_bad"])
    ewok = first_of(folder, "ewok_filtered/agent-properties.jsonl")
    for place, target in enumerate((ewok["Target1"], ewok["Target2"])):  # both after the first context
        assert holds("ewok_filtered/agent-properties/0", place, f"{ewok['Context1']} {target}", f" {target}")
    comps = first_of(folder, "comps/comps_base.jsonl")
    for place, prefix in enumerate((comps["prefix_acceptable"], comps["prefix_unacceptable"])):
        phrase = comps["property_phrase"]
        assert holds("comps/base/0", place, f"{prefix} {phrase}", f" {phrase}")
    tracked = first_of(folder, "entity_tracking/regular.jsonl")
    for place, option in enumerate(tracked["options"]):
        assert holds("entity_tracking/regular_0_ops/0", place, tracked["input_prefix"] + option, option)
    forms = first_of(folder, "wug_past_tense/wug_past_tense.jsonl")["sentences"].split("\t")
    assert all(holds("wug_past_tense/wug_past/0", place, form) for place, form in enumerate(forms))


def test_a_token_that_reaches_into_what_is_scored_counts(model, scored, tmp_path):
    """The context ends with a space, which the tokenizer takes into the next word."""
    record = {"input_prefix": "She lost ", "options": ["her", "the"], "numops": 0}
    write_set(tmp_path / "entity_tracking", regular=[record])
    ids, counted = tokens_of(model, "She lost her"), len(tokens_of(model, " her"))
    found = scored(tmp_path)["entity_tracking/regular_0_ops/0", "logprob_0"]
    assert found == pytest.approx(by_torch(model, ids, counted), abs=1e-4)


def test_2024_is_the_harness(data, model, scored):
    folder, ewok_item = data / "full_eval", ("ewok_filtered/agent-properties/0", "logprob_0")
    values = scored(folder, items=1, convention="2024")
    [end] = tokens_of(model, "<|endoftext|>")
    ids = [end, *tokens_of(model, f" {first_of(folder, 'blimp_filtered/transitive.jsonl')['sentence_good']}")]
    found = values["blimp_filtered/transitive/0", "logprob_0"]
    assert found == pytest.approx(by_torch(model, ids, len(ids) - 1), abs=1e-4)
    ewok = first_of(folder, "ewok_filtered/agent-properties.jsonl")
    context, target = tokens_of(model, ewok["Context1"]), tokens_of(model, f" {ewok['Target1']}")
    assert values[ewok_item] == pytest.approx(by_torch(model, [*context, *target], len(target)), abs=1e-4)
    own = scored(folder, items=1, convention="study")
    assert own[ewok_item] == pytest.approx(by_torch(model, [end, *context, *target], len(target)), abs=1e-4)


def test_temperature_divides_the_logits(data, model, scored):
    folder = data / "full_eval" / "supplement_filtered"
    ids = tokens_of(model, first_of(folder, "hypernym.jsonl")["sentence_good"])
    for temperature in (0.5, 1.0):  # neither gets the other's kept scores
        found = scored(folder, items=1, temperature=temperature)["supplement_filtered/hypernym/0", "logprob_0"]
        assert found == pytest.approx(by_torch(model, ids, len(ids) - 1, temperature), abs=1e-4)


def test_a_tie_is_right_for_the_challenge_and_half_right_for_the_study(scored, tmp_path):
    write_set(tmp_path / "set", hypernym=[{"sentence_good": "They shouted.", "sentence_bad": "They shouted."}])
    assert scored(tmp_path)["set/hypernym/0", "correct"] == 1
    assert scored(tmp_path, convention="study")["set/hypernym/0", "correct"] == 0.5


# --- tables ----------------------------------------------------------------------------------------------------------


def rows(item: str, task: str, **metrics: float) -> list[dict]:
    keys = {"model": "a", "train_seed": 0, "item": f"{task}/{item}", "group": task}
    return [keys | {"metric": metric, "value": value} for metric, value in metrics.items()]


def test_means_over_subtasks_and_correlations():
    decided = [
        rows(f"{uid}/{place}", "ewok_fast", correct=right, logprob_0=0.0, logprob_1=0.0)
        for uid, values in {"x": [1, 1, 0], "y": [0]}.items()
        for place, right in enumerate(values)
    ]
    people = [0.1, 0.9, 0.4, 0.8]
    likely = [0.2, 0.5, 0.3, 0.6]  # two neighbours changed places: rho = 1 - 6 * 2 / (4 * 15)
    taken = [
        rows(f"wug_past/{place}", "wug_past_tense", probability=p, people=q, logprob_0=0.0, logprob_1=0.0)
        for place, (p, q) in enumerate(zip(likely, people, strict=True))
    ]
    table = subtask_scores(pd.DataFrame([row for part in decided + taken for row in part])).set_index(["task", "group"])
    assert table.loc[("ewok_fast", "x"), "score"] == pytest.approx(200 / 3)
    assert table.loc[("ewok_fast", "all records"), "score"] == 50
    assert table.loc[("ewok_fast", "average"), ["score", "chance"]].tolist() == pytest.approx([100 / 3, 50])
    assert table.loc[("wug_past_tense", "average"), "score"] == pytest.approx(80)
    half = 1.96 * np.sqrt(1 + 0.8**2 / 2)  # of Fisher's z = log(9) / 2
    ends = 100 * np.tanh([np.log(9) / 2 - half, np.log(9) / 2 + half])
    assert table.loc[("wug_past_tense", "average"), ["low", "high"]].tolist() == pytest.approx(list(ends), abs=0.01)


# --- the command and the study ---------------------------------------------------------------------------------------


def test_the_command_measures_and_writes_what_the_challenge_takes(data, model, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["blimp", "--model", str(model), "--data", str(data), "--items", "3", "--export", "babylm"]
    assert main([*words, "--tables", "tables", "--out", "scores.parquet"]) == 0
    out = capsys.readouterr().out
    assert "predictions: 9 files under results" in out and "reading (reading times are a regression)" in out
    scores = pd.read_csv("tables/tables/babylm_scores.csv")
    assert set(scores["task"]) == set(SETS)
    place = Path("results/tiny/main/zero_shot/causal")
    assert {f"{SETS[name]}/{name}" for name in SETS} == {
        str(file.parent.relative_to(place)) for file in place.rglob("predictions.json")
    }
    found = json.loads((place / "comps/comps/predictions.json").read_text())
    assert list(found) == ["base", "wugs", "wugs_dist_before", "wugs_dist_in_between"]
    first = first_of(data, "full_eval/comps/comps_base.jsonl")
    values = pd.read_parquet("scores.parquet").set_index(["item", "metric"])["value"]
    right = values["comps/base/0", "correct"]
    prefix = first["prefix_acceptable" if right else "prefix_unacceptable"]
    assert found["base"]["predictions"][0] == {"id": "base_0", "pred": f"{prefix} {first['property_phrase']}"}
    wugs = json.loads((place / "wug_adj/wug_adj_nominalization/predictions.json").read_text())["wug_adj"]["predictions"]
    assert [one["id"] for one in wugs] == ["wug_adj_0", "wug_adj_1", "wug_adj_2"]
    one, other = (values["wug_adj_nominalization/wug_adj/1", f"logprob_{place}"] for place in (0, 1))
    assert wugs[1]["prob"] == pytest.approx(1 / (1 + np.exp(other - one)), abs=1e-6)
    forms = (data / "full_eval/wug_adj_nominalization/wug_adj_nominalization.jsonl").read_text().splitlines()[1]
    assert wugs[1]["pred"] == json.loads(forms)["sentences"].split("\t")[0 if one >= other else 1]
    ewok = json.loads((place / "ewok/ewok_filtered/predictions.json").read_text())
    assert all(entry["pred"].startswith(" ") for entry in ewok["agent-properties"]["predictions"])


def test_options_for_minimal_pairs_alone_are_refused(data, model, tmp_path, capsys):
    ids = tmp_path / "ids.json"
    ids.write_text("{}")
    assert main(["blimp", "--model", str(model), "--data", str(data), "--subset", str(ids)]) != 0
    assert "--subset is for minimal pairs alone" in capsys.readouterr().err


def test_where_predictions_go(make_config, data, tmp_path):
    config = make_config().with_section("babylm", data=[str(data / "full_eval" / "supplement_filtered")])
    [one] = chosen_sets(config)[0]
    items = [f"{one.name}/{record.subtask}/{record.place}" for record in one.records()]
    table = pd.DataFrame(
        {"model": label, "item": item, "group": one.name, "metric": metric, "value": 0.0}
        for label in ("gpt2-baby.s0", "chck_2M")
        for item in items
        for metric in ("logprob_0", "logprob_1")
    )
    models = {"gpt2-baby.s0": HubModel(name="models/gpt2-baby.s0"), "chck_2M": HubModel(name="models/mine.s1/chck_2M")}
    written = export(config, table, models, tmp_path)
    assert [file.relative_to(tmp_path).parts[:2] for file in sorted(written)] == [
        ("gpt2-baby-s0", "main"), ("mine-s1", "chck_2M")
    ]  # fmt: skip


def test_a_study_measures_the_sets_that_it_names(make_config, data, model):
    settings = (f'bases.tiny={{name="{model}"}}', 'respond.models=["tiny"]', "babylm.items=1")
    without = make_config(*settings)
    assert BABYLM.pieces(without) == []
    named = [piece.path.name for piece in evaluate_pieces(without)]
    assert "babylm.parquet" not in named and ".drawn-babylm" not in named
    config = make_config(*settings, f'babylm.data=["{data / "fast_eval"}"]')
    assert [piece.path.name for piece in evaluate_pieces(config)].count(".drawn-babylm") == 1
    assert run("babylm", BABYLM.pieces(config)).counts == {"records": 2 + 3 + 1 + 1, "ties": 0}
    assert run("babylm", BABYLM.pieces(config)).fresh == ["babylm.parquet"]
    assert [piece.recipe for piece in BLIMP.pieces(config)] == [piece.recipe for piece in BLIMP.pieces(without)]
    other = config.with_section("babylm", convention="2024")
    [piece] = BABYLM.pieces(other)
    assert 'babylm.convention "2026" → "2024"' in piece.freshness().reasons
