"""The same as the challenge's own code, run in an environment of its own from a checkout.

``EMOGAP_BABYLM_EVAL``: the folder that has ``evaluation_pipeline`` in it (2025: babylm/evaluation-pipeline-2025; 2026:
``strict/`` of babylm-org/babylm-eval). ``EMOGAP_BABYLM_PYTHON``: a Python with what it needs: torch, transformers,
datasets, aiohttp, scipy, tqdm, pandas and statsmodels.
"""

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluation_sets import write_evaluation, write_set
from tiny_models import save_tiny_gpt2, save_tiny_llama

from emogap.config import HubModel
from emogap.grammar.zero_shot import BABYLM, LOGPROB, EvaluationSet, chosen_sets
from emogap.grammar.zero_shot_tables import export, subtask_scores

pytestmark = pytest.mark.slow

NOTING = """
import json, os, sys, torch
from evaluation_pipeline.sentence_zero_shot import compute_results, run
kept = []
def noting(rank):
    def ranked(args, stats, probs, raw, labels, metadatas, uids, predictions):
        [parts] = probs.values()
        kept.extend(([args.data_path.name, uid], found) for uid, found in zip(uids, torch.stack(parts, dim=1).tolist()))
        return rank(args, stats, probs, raw, labels, metadatas, uids, predictions)
    return ranked
for name in ("rank_and_evaluate", "rank_and_evaluate_wug"):
    setattr(compute_results, name, noting(getattr(compute_results, name)))
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    run.main()
json.dump(kept, open(os.environ["KEPT"], "w"))
"""
READING = """
import json, sys
sys.path.insert(0, "evaluation_pipeline")
from pathlib import Path
from evaluation_pipeline import calculate_results_from_pred as calculated, collate_preds
results, data = Path(sys.argv[1]), Path(sys.argv[2])
checked, scores = {}, {}
for size, task, name, rule in (
    ("blimp", "blimp", "blimp_filtered", "blimp"), ("blimp_supplement", "blimp", "supplement_filtered", "blimp"),
    ("ewok", "ewok", "ewok_filtered", "ewok"), ("comps", "comps", "comps", "comps"),
    ("entity_tracking", "entity_tracking", "entity_tracking", "entity_tracking"),
    ("wug_adj", "wug_adj", "wug_adj_nominalization", "wug"), ("wug_past", "wug_past", "wug_past_tense", "wug"),
):
    predictions = json.loads((results / task / name / "predictions.json").read_text())
    checked[size] = collate_preds._check_size(size, predictions, fast=False)
    scores[name] = getattr(calculated, f"_calculate_{rule}_results")(predictions, data / name)
print(json.dumps([checked, scores]))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def their_code() -> tuple[Path, str]:
    folder, python = os.environ.get("EMOGAP_BABYLM_EVAL"), os.environ.get("EMOGAP_BABYLM_PYTHON")
    if not folder or not python or not (Path(folder) / "evaluation_pipeline").is_dir():
        pytest.skip("needs the challenge's code: set EMOGAP_BABYLM_EVAL and EMOGAP_BABYLM_PYTHON")
    return Path(folder), python


def run_theirs(their_code: tuple[Path, str], script: str, *words: object, **more: str) -> str:
    folder, python = their_code
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", script, *map(str, words)], cwd=folder, env=known | more, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def their_scores(their_code, model: Path, sets: list[EvaluationSet], folder: Path, temperature: float) -> pd.Series:
    """Item → log-probabilities, by their run.py, which leaves its predictions under ``folder``."""
    words = ["--model_path_or_name", str(model), "--backend", "causal", "--min_temperature", str(temperature)]
    words += ["--output_dir", str(folder / "results"), "--save_predictions"]
    runs = [["--data_path", str(one.folder), "--task", one.rule.name, *words] for one in sets]
    kept = folder / "kept.json"
    run_theirs(their_code, NOTING, json.dumps(runs), KEPT=str(kept))
    places: Counter[str] = Counter()
    found = {}
    for names, probs in json.loads(kept.read_text()):
        subtask = "/".join(names)
        found[f"{subtask}/{places[subtask]}"] = probs
        places[subtask] += 1
    return pd.Series(found)


def assert_parity(their_code, make_config, model: Path, data: Path, folder: Path, temperature: float = 1.0) -> None:
    folder.mkdir()
    config = make_config().with_section("babylm", data=[str(data)], temperature=temperature)
    models = {model.name: HubModel(name=str(model))}
    scores = BABYLM.of_models(config, models).scores
    export(config, scores, models, folder / "ours")
    wide = scores.pivot(index="item", columns="metric", values="value")
    sets = chosen_sets(config)[0]
    theirs = their_scores(their_code, model, sets, folder, temperature)
    assert set(theirs.index) == set(wide.index)
    for one in sets:
        reference = np.array(theirs[theirs.index.str.startswith(f"{one.name}/")].to_list())
        names = [f"{LOGPROB}{place}" for place in range(reference.shape[1])]
        ours = wide.loc[theirs.index[theirs.index.str.startswith(f"{one.name}/")], names].to_numpy()
        largest = np.abs(ours - reference).max()
        assert largest < 1e-3
        place = f"{model.name}/main/zero_shot/causal/{one.rule.name}/{one.name}/predictions.json"
        mine, their = (json.loads((root / place).read_text()) for root in (folder / "ours", folder / "results"))
        assert mine.keys() == their.keys()
        for uid in mine:
            for entry, known in zip(mine[uid]["predictions"], their[uid]["predictions"], strict=True):
                assert (entry["id"], entry["pred"]) == (known["id"], known["pred"])
                assert entry.get("prob", 0) == pytest.approx(known.get("prob", 0), abs=1e-3)
        print(f"{one.name}: {len(ours)} records decided alike, scores within {largest:.1e}")


@pytest.mark.parametrize("save", [save_tiny_gpt2, save_tiny_llama])
def test_scores_and_decisions_of_tiny_models(their_code, make_config, save, tmp_path):
    model, data = save(tmp_path / "model"), write_evaluation(tmp_path / "evaluation_data", records=20)
    assert_parity(their_code, make_config, model, data, tmp_path / "found")


def test_at_another_temperature(their_code, make_config, tmp_path):
    model, data = save_tiny_gpt2(tmp_path / "model"), write_evaluation(tmp_path / "evaluation_data", records=5)
    assert_parity(their_code, make_config, model, data / "fast_eval", tmp_path / "found", temperature=1.7)


def readable_by_theirs(folder: Path, copy: Path) -> Path:
    """Transformers 4 knows neither the class of tokenizer that transformers 5 writes nor where it puts rope_theta, and
    takes 10,000 without a word."""
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).symlink_to(file)
    shape = json.loads((folder / "config.json").read_text())
    changed = {"tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}
    changed["config.json"] = {"rope_theta": shape["rope_parameters"]["rope_theta"]}
    for name, values in changed.items():
        (copy / name).unlink()
        (copy / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))
    return copy


def test_scores_and_decisions_of_a_real_model(their_code, make_config, real_data, tmp_path):
    from emogap.grammar.blimp import load_pairs
    from emogap.lm.hub import resolve

    folder = readable_by_theirs(resolve(HubModel(name="embedded:smollm2-135m-instruct")).path, tmp_path / "smollm2")
    data = write_evaluation(tmp_path / "evaluation_data", records=12)
    pairs: dict[str, list[dict]] = {}
    for one in load_pairs(real_data / "blimp", 4):
        more = {"UID": one.uid, "field": "x", "linguistics_term": one.phenomenon}
        pairs.setdefault(one.uid, []).append({"sentence_good": one.good, "sentence_bad": one.bad} | more)
    write_set(data / "full_eval" / "blimp_filtered", **pairs)
    assert_parity(their_code, make_config, folder, data, tmp_path / "found")


def test_their_reader_takes_what_is_exported(their_code, make_config, tmp_path):
    """Sets of the sizes that it wants, made of few sentences."""
    model = save_tiny_gpt2(tmp_path / "model")
    data = write_evaluation(tmp_path / "small", records=6) / "full_eval"
    tables = "BLIMP_SIZES SUPPLEMENT_SIZES EWOK_SIZES ENTITY_TRACKING_SIZES COMPS_SIZES WUG_SIZE WUG_PAST_TENSE_SIZE"
    asked = "import json; from evaluation_pipeline.collate_preds import *; print(json.dumps([{}]))"
    sizes = run_theirs(their_code, asked.format(tables.replace(" ", ", ")))
    blimp, supplement, ewok, entities, comps, adjectives, past = json.loads(sizes)

    def some(name: str, file: str, count: int, **more) -> list[dict]:
        few = [json.loads(line) for line in (data / name / f"{file}.jsonl").read_text().splitlines()]
        return [few[place % len(few)] | more for place in range(count)]

    full = tmp_path / "full"
    write_set(full / "blimp_filtered", **{u: some("blimp_filtered", "transitive", n, UID=u) for u, n in blimp.items()})
    pairs = {uid: some("supplement_filtered", "hypernym", number) for uid, number in supplement.items()}
    write_set(full / "supplement_filtered", **pairs)
    worlds = {d.replace("-", "__"): some("ewok_filtered", "agent-properties", n, Domain=d) for d, n in ewok.items()}
    write_set(full / "ewok_filtered", **worlds)
    tracking: dict[str, list[dict]] = {}
    for subtask, number in entities.items():
        split, operations, _ = subtask.rsplit("_", 2)
        tracking.setdefault(split, []).extend(some("entity_tracking", "regular", number, numops=int(operations)))
    write_set(full / "entity_tracking", **tracking)
    files = {"base": "comps_base", "wugs": "comps_wugs", "wugs_dist_before": "comps_wugs_dist__before"}
    files |= {"wugs_dist_in_between": "comps_wugs_dist__in__between"}
    write_set(full / "comps", **{files[uid]: some("comps", "comps_base", number) for uid, number in comps.items()})
    for name, number in (("wug_adj_nominalization", adjectives), ("wug_past_tense", past)):
        write_set(full / name, **{name: some(name, name, number)})

    config = make_config().with_section("babylm", data=[str(full)])
    models = {"model": HubModel(name=str(model))}
    scores = BABYLM.of_models(config, models).scores
    export(config, scores, models, tmp_path / "results")
    place = tmp_path / "results" / "model/main/zero_shot/causal"
    checked, theirs = json.loads(run_theirs(their_code, READING, place, full).splitlines()[-1])
    assert checked == dict.fromkeys(checked, True)
    table = subtask_scores(scores)
    ours = table[table["group"] == "average"].set_index("task")["score"]
    assert pd.Series(theirs).sort_index().to_dict() == pytest.approx(ours.sort_index().to_dict(), abs=1e-6)
