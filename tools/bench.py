"""The benchmark harness: ways of doing the same work, timed in turn in one process, and given as ratios.

Absolute seconds move with the machine; the ratio of two ways measured in turn in one run does not.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from emogap.commands import Parser
from emogap.errors import UsageError


@dataclass(frozen=True)
class Timing:
    """One way of doing the work: seconds of every round, and how many units of work a round is."""

    name: str
    seconds: tuple[float, ...]
    units: float

    @property
    def rate(self) -> float:
        """Units a second, by the median round."""
        return self.units / statistics.median(self.seconds)


def time_in_turn(ways: dict[str, Callable[[], float]], rounds: int = 3, warm_up: bool = True) -> list[Timing]:
    """Run every way once per round, in turn, so that a change of the machine's speed hits all alike.

    Each callable does one round of the work and returns how many units (lines, tokens, pairs) it did.
    """
    if warm_up:
        for way in ways.values():
            way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    units: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            units[name] = way()
            seconds[name].append(time.perf_counter() - started)
    return [Timing(name, tuple(seconds[name]), units[name]) for name in ways]


def ratio(timings: list[Timing], faster: str, slower: str) -> float:
    """Rate of ``faster`` divided by rate of ``slower``: the median over rounds of the ratio within each round."""
    by_name = {timing.name: timing for timing in timings}
    a, b = by_name[faster], by_name[slower]
    paired = [(a.units / x) / (b.units / y) for x, y in zip(a.seconds, b.seconds, strict=True)]
    return statistics.median(paired)


def print_timings(timings: list[Timing], unit: str, baseline: str) -> None:
    """One line per way: its rate, its fastest and slowest round, and its ratio to the baseline."""
    width = max(len(timing.name) for timing in timings)
    for timing in timings:
        print(
            f"{timing.name:<{width}}  {timing.rate:10.1f} {unit}/s   "
            f"{min(timing.seconds):.2f}–{max(timing.seconds):.2f} s a round   "
            f"{ratio(timings, timing.name, baseline):.2f}× {baseline}"
        )


# Name → ``module:function``; the function takes the words after the name and prints its figures.
BENCHMARKS: dict[str, str] = {
    "clean": "tools.benchmarks.clean:run",
    "classify": "tools.benchmarks.classify:run",
    "generate": "tools.benchmarks.generate:run",
    "train": "tools.benchmarks.train:run",
    "respond": "tools.benchmarks.respond:run",
    "blimp": "tools.benchmarks.blimp:run",
    "lens": "tools.benchmarks.lens:run",
    "scale": "tools.benchmarks.scale:run",
}


def run_benchmark(name: str, arguments: list[str]) -> None:
    """Run one benchmark by name. Raises ``UsageError`` if there is none of that name."""
    if name not in BENCHMARKS:
        raise UsageError(f"unknown benchmark '{name}'; choose among {', '.join(BENCHMARKS)}")
    module, function = BENCHMARKS[name].split(":")
    getattr(import_module(module), function)(arguments)


def main(words: list[str]) -> None:
    """``emogap bench``: the first word names the benchmark, the others are its own."""
    arguments = options().parse_args(words)
    run_benchmark(arguments.name, arguments.arguments)


def options() -> Parser:
    parser = Parser(prog="emogap bench", description="Measure speed, as ratios within one run.")
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the benchmark takes; NAME --help says it")
    return parser
