"""``emogap bench scale``: classification by one and two workers of a Ray cluster, against the same work without Ray.

Every worker has one core, and so has the process without Ray: what a second worker brings, and what Ray itself costs,
are ratios of the same work in one run. A fourth way gives the process without Ray the cores of two workers.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch

from emogap.commands import Parser, a_model
from emogap.config import HubModel, Scale
from emogap.emotion.classify import Scoring, open_scorer
from emogap.errors import EmogapError, UsageError
from emogap.store.cluster import ActorPool
from tools.bench import Timing, print_timings, ratio, time_in_turn
from tools.benchmarks.classify import sample_lines

NO_RAY, ONE, TWO, NO_RAY_TWO = "no Ray, 1 core", "Ray, 1 worker", "Ray, 2 workers", "no Ray, 2 cores"
BOOKED = 0.5
"""CPUs that Ray books for a worker: both pools are started at once, though only one of them is at work at a time."""
SAME = 1e-5
"""fp32 scores of the same batches; threads may sum in another order."""

Piece = tuple[int, list[str]]


def run(words: list[str]) -> None:
    """Time all ways in turn; print how long the workers took to start, rows a second, and the ratios."""
    parser = Parser(prog="emogap bench scale", description=__doc__.split("\n")[0])
    parser.add_argument("--lines", type=int, default=2048, help="rows; the shipped sample is repeated (2048)")
    parser.add_argument("--piece", type=int, default=256, help="rows that a worker is given at a time (256)")
    parser.add_argument("--classifier", type=a_model, default="emotion-minilm")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(words)
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        raise UsageError(f"bench scale: two workers want two cores, this process may use {cores}")
    distinct = sample_lines(arguments.lines)
    texts = list(itertools.islice(itertools.cycle(distinct), arguments.lines))
    print(f"{len(texts)} rows ({len(distinct)} distinct), {arguments.piece} a piece; {cores} cores here")
    compare(texts, arguments.piece, arguments.classifier, arguments.rounds)


def compare(texts: list[str], size: int, name: str = "emotion-minilm", rounds: int = 3) -> list[Timing]:
    """Time all ways on pieces of ``size`` texts; all must give the same rows the same scores (fp32).

    Raises ``UsageError`` without Ray, ``EmogapError`` if a way loses a row or scores it differently.
    """
    pieces = list(enumerate(texts[start : start + size] for start in range(0, len(texts), size)))
    scoring = Scoring(HubModel(name=name), "cpu", "fp32", 0, Scale(executor="ray", cpus=BOOKED, gpus=0))
    found: dict[str, dict[int, np.ndarray]] = {}
    with ExitStack() as stack:
        pools = {label: stack.enter_context(_loaded_pool(scoring, workers)) for label, workers in ((ONE, 1), (TWO, 2))}
        score, _ = open_scorer(scoring)

        def without_ray(label: str, cores: int) -> float:
            _use_cores(cores)
            found[label] = {number: score((number, part)) for number, part in pieces}
            return len(texts)

        def on_cluster(label: str) -> float:
            found[label] = {}
            pools[label].run(pieces, lambda piece, scores: found[label].update({piece[0]: scores}))
            return len(texts)

        timings = time_in_turn(
            {
                NO_RAY: partial(without_ray, NO_RAY, 1),
                ONE: partial(on_cluster, ONE),
                TWO: partial(on_cluster, TWO),
                NO_RAY_TWO: partial(without_ray, NO_RAY_TWO, 2),
            },
            rounds,
        )
    _check_same(found, len(texts))
    print_timings(timings, "rows", NO_RAY)
    print(f"a second worker: {ratio(timings, TWO, ONE):.2f}× one worker")
    print(f"overhead of Ray once it is started: {ratio(timings, NO_RAY, ONE) - 1:+.1%} of the time without it")
    return timings


@contextmanager
def _loaded_pool(scoring: Scoring, size: int) -> Iterator[ActorPool]:
    """A pool whose workers are all loaded; their start is printed, apart from their rate."""
    started = time.perf_counter()
    with ActorPool(scoring.scale.model_copy(update={"workers": size}), partial(_open_on_one_core, scoring)) as workers:

        def until_loaded() -> Iterator[Piece]:
            while workers.loaded < size:
                time.sleep(0.05)
                yield 0, ["one line"]

        workers.run(until_loaded(), lambda piece, scores: None)
        print(f"{time.perf_counter() - started:.1f} s until {size} worker{'s'[: size - 1]} of Ray stood ready")
        yield workers


def _open_on_one_core(scoring: Scoring) -> tuple[Callable[[Piece], np.ndarray], dict]:
    _use_cores(1)
    score, describe = open_scorer(scoring)
    return score, describe()


def _use_cores(cores: int) -> None:
    """Set the threads of the model and of its tokenizer in this process."""
    torch.set_num_threads(cores)
    os.environ["TOKENIZERS_PARALLELISM"] = "false" if cores == 1 else "true"


def _check_same(found: dict[str, dict[int, np.ndarray]], rows: int) -> None:
    joined = {label: np.concatenate([parts[number] for number in sorted(parts)]) for label, parts in found.items()}
    for label, scores in joined.items():
        if len(scores) != rows:
            raise EmogapError(f"bench scale: {label} gave {len(scores)} of {rows} rows; its rate says nothing")
        furthest = float(np.abs(scores - joined[NO_RAY]).max())
        if furthest > SAME:
            raise EmogapError(f"bench scale: scores of {label} differ from {NO_RAY} by {furthest:.1e}; a rate of what?")
    print(f"all ways gave all {rows} rows, scores within {SAME:g} of {NO_RAY}")
