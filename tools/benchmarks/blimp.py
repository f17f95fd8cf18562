"""``emogap bench blimp``: scoring minimal pairs, against lm-evaluation-harness at its best batch size."""

import json
import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from emogap.commands import Parser, a_model, a_path
from emogap.config import HubModel
from emogap.errors import UsageError
from emogap.grammar.blimp import Pair, load_pairs
from emogap.lm.hub import LocalModel, is_adapter, resolve
from emogap.lm.loading import load_causal
from emogap.lm.score_cache import scored_in_groups
from emogap.lm.sentence_scores import SentenceScorer
from emogap.paths import from_root
from tools.bench import Timing, print_timings, ratio, time_in_turn

SHARED, PLAIN = "emogap", "emogap, one by one"
MIB = 1 << 20


def run(words: list[str]) -> None:
    """Find lm-eval's best batch size, time both in turn, print rates, ratios, peak memory and how well they agree."""
    parser = Parser(prog="emogap bench blimp", description=__doc__)
    parser.add_argument(
        "--model", type=a_model, default="embedded:smollm2-135m-instruct", help="a model's name or folder"
    )
    parser.add_argument("--data", type=a_path, default=from_root("data/sample/blimp"), help="<UID>.jsonl files")
    parser.add_argument("--items", type=int, default=0, help="pairs of each paradigm (all)")
    parser.add_argument("--batch-sizes", default="1,8,16,32,64,128", help="those tried for lm-eval (1,8,16,32,64,128)")
    parser.add_argument("--token-budget", type=int, default=2048, help="tokens of a batch of ours (2048)")
    parser.add_argument("--tried", type=int, default=4, help="pairs of each on which batch sizes are tried (4)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(words)
    sizes = [int(size) for size in arguments.batch_sizes.split(",")]
    pairs = load_pairs(arguments.data, arguments.items)
    tried = load_pairs(arguments.data, min(arguments.items or arguments.tried, arguments.tried))
    local = resolve(HubModel(name=arguments.model))
    scorers = [SentenceScorer(local, device=arguments.device, token_budget=arguments.token_budget, share=share)
               for share in (True, False)]  # fmt: skip
    compare(local, scorers, pairs, tried, sizes, arguments.rounds)


def compare(
    local: LocalModel,
    scorers: Sequence[SentenceScorer],
    pairs: list[Pair],
    tried: list[Pair],
    sizes: list[int],
    rounds: int,
) -> list[Timing]:
    """Time lm-eval and both ways of ours on these pairs, and print what was found. ``scorers``: sharing and plain.

    Both sides are timed from sentences to scores; lm-eval's tasks are built beforehand.
    """
    device = scorers[0].device
    harness = Harness(local, device)
    best = harness.best_batch_size(harness.requests(tried), sizes)
    requests = harness.requests(pairs)
    baseline = f"lm-eval, batches of {best}"
    ways: dict[str, Callable[[], np.ndarray]] = {baseline: lambda: harness.scores(requests, best)}
    for name, scorer in zip((SHARED, PLAIN), scorers, strict=True):
        own_scores(scorer, tried)  # warm-up: chooses its kernels, as lm-eval has by now
        ways[name] = lambda scorer=scorer: own_scores(scorer, pairs)
    found: dict[str, np.ndarray] = {}
    peaks: dict[str, int] = {}

    def one_round(name: str) -> float:
        with peak_memory(device) as peak:
            found[name] = ways[name]()
        peaks[name] = max(peak[0], peaks.get(name, 0))
        return len(pairs)

    timings = time_in_turn({name: lambda name=name: one_round(name) for name in ways}, rounds, warm_up=False)
    print_timings(timings, "pairs", baseline)
    for name, peak in peaks.items():
        print(f"{name}: {peak / MIB:,.0f} MiB at most")
    print(f"{ratio(timings, SHARED, baseline):.2f}× {baseline}, {ratio(timings, SHARED, PLAIN):.2f}× {PLAIN}")
    print(agreement(found[SHARED], found[baseline]))
    return timings


def own_scores(scorer: SentenceScorer, pairs: list[Pair]) -> np.ndarray:
    """Scores of the pairs as the study computes them, but none is cached: float64 of shape (pairs, 2)."""
    groups = [list(group) for _, group in groupby(pairs, key=lambda pair: pair.uid)]
    encoded = [[scorer.encode(text) for pair in group for text in (pair.good, pair.bad)] for group in groups]
    return np.concatenate(list(scored_in_groups(scorer, encoded, lambda count: None))).reshape(-1, 2)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> str:
    """How well two tables of scores, float of shape (pairs, 2), agree."""
    differently = np.sign(ours[:, 0] - ours[:, 1]) != np.sign(theirs[:, 0] - theirs[:, 1])
    return (
        f"scores differ by {np.abs(ours - theirs).max():.1g} at most; {differently.sum()} of {len(ours)} pairs are "
        "decided differently"
    )


@contextmanager
def peak_memory(device: str) -> Iterator[list[int]]:
    """Most bytes that were held within the block: the device's, or this process's on a CPU (all its models)."""
    import torch

    peak = [0]
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(device)
        return
    # Linux resets the peak of a process on request; elsewhere the peak is that since the process started.
    mark = Path("/proc/self/clear_refs")
    if mark.exists():
        mark.write_text("5", encoding="utf-8")
    yield peak
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    since_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    peak[0] = next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), since_start)


class Harness:
    """lm-evaluation-harness with one model in float32."""

    def __init__(self, local: LocalModel, device: str):
        try:
            from lm_eval.models.huggingface import HFLM
        except ImportError as error:
            raise UsageError("lm-eval is not installed; pip install -r requirements-dev.txt") from error
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        if is_adapter(local.path):  # lm-eval would look for the base's tokenizer in the adapter's folder
            model, tokenizer = load_causal(local.path, device=device)
            self.model = HFLM(pretrained=model, tokenizer=tokenizer)
        else:
            self.model = HFLM(pretrained=str(local.path), device=device, dtype="float32")

    def requests(self, pairs: list[Pair]) -> list[Any]:
        """What the harness asks its model for these pairs: good and bad sentence of each, in order."""
        from lm_eval.tasks import TaskManager

        with TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # hides a progress bar for each paradigm
            loaded = TaskManager().load([str(file) for file in task_files(pairs, Path(folder))])
            requests = []
            for task in loaded["tasks"].values():
                task.build_all_requests(limit=None, rank=0, world_size=1)
                requests += sorted(task.instances, key=lambda request: (request.doc_id, request.idx))
        return requests

    def best_batch_size(self, requests: list[Any], sizes: list[int]) -> int:
        """The fastest of these sizes on these requests."""
        self.scores(requests, sizes[0])
        seconds = {}
        for size in sizes:
            started = time.perf_counter()
            self.scores(requests, size)
            seconds[size] = time.perf_counter() - started
            rate = len(requests) / 2 / seconds[size]
            print(f"lm-eval, batches of {size}: {rate:.1f} pairs/s on {len(requests) // 2} pairs")
        return min(seconds, key=seconds.__getitem__)

    def scores(self, requests: list[Any], batch_size: int) -> np.ndarray:
        """Log-probabilities of good and bad sentences: float64 of shape (pairs, 2)."""
        self.model.batch_size_per_gpu = batch_size
        answers = self.model.loglikelihood(requests, disable_tqdm=True)
        return np.array([logprob for logprob, _ in answers]).reshape(-1, 2)


def task_files(pairs: list[Pair], folder: Path) -> list[Path]:
    """The harness's BLiMP task once for each paradigm, with the pairs written beside it for data."""
    import lm_eval.tasks

    template = Path(lm_eval.tasks.__file__).parent / "blimp" / "_template_yaml"
    files = []
    for uid, group in groupby(pairs, key=lambda pair: pair.uid):
        data, file = folder / f"{uid}.jsonl", folder / f"{uid}.yaml"
        rows = [{"sentence_good": pair.good, "sentence_bad": pair.bad} for pair in group]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        source = {"data_files": {"train": str(data)}, "cache_dir": str(folder / "cache")}
        task = {"include": str(template), "task": f"blimp_{uid}", "dataset_path": "json", "dataset_kwargs": source}
        file.write_text(json.dumps(task), encoding="utf-8")  # JSON is YAML
        files.append(file)
    return files
