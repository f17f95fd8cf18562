"""The command that measures speed: bench."""

import argparse

from emogap.bench import BENCHMARKS, run_benchmark
from emogap.commands import Commands


def register(commands: Commands) -> None:
    parser = commands.add_parser("bench", help="measure speed, as ratios within one run")
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(BENCHMARKS)}")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the benchmark takes; NAME --help says it")
    parser.set_defaults(run=lambda arguments: run_benchmark(arguments.name, arguments.arguments))
