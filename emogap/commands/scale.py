"""The command that prices a study before it is run: plan."""

import argparse

from emogap.commands import Commands, add_run_options, config_from
from emogap.options import a_path


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "plan",
        help="hours and disk of a whole study, from what was done",
        description="Price every stage of a profile by what was done in a home that has begun it, in one like it, or "
        "by tables of rates. What is too little to tell, or was made under other settings, gets no number.",
    )
    add_run_options(parser)
    parser.add_argument(
        "--from", dest="sources", nargs="+", type=a_path, metavar="HOME",
        help="homes, tables of rates or a folder of them; the first that can price a row does (the profile's own home)",
    )  # fmt: skip
    for gone in ("--calibrate", "--rates", "--only"):
        parser.add_argument(gone, dest="gone", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    from emogap.errors import UsageError
    from emogap.gpu_rates import FOLDER

    if arguments.gone is not None:
        raise UsageError(
            "--calibrate, --rates and --only are gone: prices come from what was done; give --from HOME, a home that "
            "has begun this profile or one like it, or --from FILE.csv, a table of rates"
        )
    config = config_from(arguments)
    sources = arguments.sources or [config.home.root]
    for source in sources:
        if arguments.sources and source != FOLDER and not source.exists():
            raise UsageError(f"--from {source}: there is no such home or table; give one that is there")
    from emogap.plan import plan

    for line in plan(config, sources):
        print(line)
