"""``emogap bench classify``: scoring lines, against a transformers pipeline over the same model in the same process."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from emogap.babylm.clean import Report, clean
from emogap.babylm.raw import find_sources
from emogap.commands import Parser, a_model, a_path
from emogap.config import HubModel, Process
from emogap.device import cpu_has_bf16
from emogap.emotion.classifier import EncoderClassifier
from emogap.emotion.classify import load
from emogap.emotions import INDEX, LABELS
from emogap.errors import UsageError
from emogap.paths import ROOT
from emogap.text.reading import read_texts
from tools.bench import Timing, print_timings, ratio, time_in_turn

if TYPE_CHECKING:
    from transformers import Pipeline

ONE_BY_ONE, AS_THEY_COME = "pipeline, line by line", "pipeline, batches of 32"
FP32, BF16 = "emogap, fp32", "emogap, bf16"


def run(words: list[str]) -> None:
    """Time all ways in turn; print lines a second and the ratios to both ways of using the pipeline."""
    parser = Parser(prog="emogap bench classify", description=__doc__)
    parser.add_argument("--file", type=a_path, help="texts (else the kept lines of the shipped sample, in their order)")
    parser.add_argument("--lines", type=int, default=512, help="how many of them (512)")
    parser.add_argument("--classifier", type=a_model, default="emotion-minilm")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(words)
    texts = next(read_texts(arguments.file, size=arguments.lines)) if arguments.file else sample_lines(arguments.lines)
    compare(texts, arguments.classifier, arguments.device, arguments.rounds)


def sample_lines(count: int) -> list[str]:
    """Kept lines of the shipped sample, one of each source in turn, as a mixed corpus would have them."""
    reports: list[Report] = []
    by_source: dict[str, list[str]] = {}
    for part in clean(find_sources([ROOT / "data/sample/babylm"], [".train"]), Process(), reports=reports):
        by_source.setdefault(part.source, []).extend(part.texts.to_list())
    return [text for texts in zip(*by_source.values(), strict=False) for text in texts][:count]


def compare(texts: list[str], name: str, device: str = "auto", rounds: int = 3) -> list[Timing]:
    """Time all ways on these texts; all must give the same scores."""
    model = HubModel(name=name)
    fp32 = load(model, device, "fp32")
    if not isinstance(fp32, EncoderClassifier):
        raise UsageError(f"--classifier {name}: only a transformers model can be compared with a pipeline")
    pipeline, found = pipeline_over(fp32), {}

    def one_by_one() -> float:
        found[ONE_BY_ONE] = as_scores([pipeline(text)[0] for text in texts])
        return len(texts)

    def as_they_come() -> float:
        found[AS_THEY_COME] = as_scores(pipeline(texts, batch_size=32))
        return len(texts)

    ways: dict[str, Callable[[], float]] = {ONE_BY_ONE: one_by_one, AS_THEY_COME: as_they_come}
    own = {FP32: fp32}
    if has_bf16(fp32):
        own[BF16] = load(model, device, "bf16")
    for label, classifier in own.items():

        def score(label: str = label, classifier: EncoderClassifier = classifier) -> float:
            found[label] = classifier.scores(texts)
            return len(texts)

        ways[label] = score
    timings = time_in_turn(ways, rounds)
    print_timings(timings, "lines", ONE_BY_ONE)
    print(f"{AS_THEY_COME}: {padded_share(fp32, texts):.0%} of what they compute is padding")
    for label in ways:
        difference = float(np.abs(found[label] - found[ONE_BY_ONE]).max())
        print(
            f"{label:<{len(AS_THEY_COME)}}  {ratio(timings, label, AS_THEY_COME):.2f}× {AS_THEY_COME}, "
            f"scores differ from {ONE_BY_ONE} by {difference:.1e} at most"
        )
    return timings


def padded_share(classifier: EncoderClassifier, texts: list[str], size: int = 32) -> float:
    """Share of padding in batches of unsorted texts: all that sorting by length can save."""
    lengths = [len(ids) for ids in classifier.tokenizer(texts, truncation=True)["input_ids"]]
    batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    return 1 - sum(lengths) / sum(max(batch) * len(batch) for batch in batches)


def has_bf16(classifier: EncoderClassifier) -> bool:
    return classifier.model.device.type == "cuda" or cpu_has_bf16()


def pipeline_over(classifier: EncoderClassifier) -> "Pipeline":
    """The pipeline that one would write for this model: multi-label sigmoid, all scores."""
    from transformers import pipeline
    from transformers.utils import logging

    logging.set_verbosity(logging.CRITICAL)  # it logs an error for every model class but its own, and goes on
    return pipeline(
        "text-classification",
        model=classifier.model,
        tokenizer=classifier.tokenizer,
        device=classifier.model.device,
        top_k=None,
        function_to_apply="sigmoid",
        truncation=True,
    )


def as_scores(answers: list[list[dict]]) -> np.ndarray:
    """float32 (texts, 28) in the order of ``LABELS`` from a pipeline's answers."""
    scores = np.zeros((len(answers), len(LABELS)), dtype=np.float32)
    for row, answer in enumerate(answers):
        for entry in answer:
            scores[row, INDEX[entry["label"]]] = entry["score"]
    return scores
