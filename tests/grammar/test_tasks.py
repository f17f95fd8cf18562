"""A benchmark as data: its cases, scored by any model, give what plain torch gives."""

from pathlib import Path

import pytest
from tiny_models import save_tiny_gpt2

from emogap.config import HubModel
from emogap.grammar.tasks import Case, Task
from emogap.records import SCORES, read_rows

CONTEXT, CHOICES = "A quiet morning is the best time for", (" tea", " the river")
SENTENCES = ("The old dog ran happily.", "Happily dog old the ran.")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny", dropout=0.0)


def cases(config) -> list[list[Case]]:
    def both(sums) -> dict[str, float]:
        return {"first": sums[0], "second": sums[1]}

    return [[Case("after/0", "drinks", CHOICES, both, CONTEXT)], [Case("alone/0", "dogs", SENTENCES, both)]]


TOY = Task(
    name="emobench",
    title="toy",
    unit="texts",
    shaping=("items",),
    longest=64,
    files=lambda config: {"toy": Path(__file__)},
    cases=cases,
    counts=lambda table: {"cases": table["item"].nunique()},
)


def by_torch(folder: Path, context: str, text: str) -> float:
    """Log-probability of the tokens behind the context, read after the BOS."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    before = tokenizer(context)["input_ids"] if context else []
    ids = [tokenizer.bos_token_id, *tokenizer(context + text)["input_ids"]]
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(logits[place - 1, ids[place]].item() for place in range(1 + len(before), len(ids)))


def test_a_task_of_ones_own_is_scored_as_the_model_says(model, make_config, tmp_path):
    config, models = make_config(), {"tiny": HubModel(name=str(model))}
    found = TOY.of_models(config, models)
    values = found.scores.set_index(["item", "metric"])["value"]
    for place, metric in enumerate(("first", "second")):
        after, alone = by_torch(model, CONTEXT, CHOICES[place]), by_torch(model, "", f" {SENTENCES[place]}")
        assert values["after/0", metric] == pytest.approx(after, abs=1e-4)
        assert values["alone/0", metric] == pytest.approx(alone, abs=1e-4)
    assert found.contexts == {"tiny": "<|endoftext|>"}
    out = tmp_path / "toy.parquet"
    kept = TOY.to_file(config, models, out)
    assert kept.scores["value"].tolist() == found.scores["value"].tolist() and kept.contexts == found.contexts
    rows = read_rows(out, SCORES)
    assert set(rows["group"]) == {"drinks", "dogs"} and set(rows["task"]) == {"emobench"}
