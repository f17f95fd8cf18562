"""The command that prices a study before it is run: plan."""

import argparse

from emogap.commands import Commands, add_run_options, config_from
from emogap.options import a_path


def register(commands: Commands) -> None:
    parser = commands.add_parser(
        "plan",
        help="hours and disk of a whole study, from measured rates",
        description="Price every stage of a profile at published size and at 100M words by rates that were measured "
        "on this machine (--calibrate) or are given (--rates). What was not measured gets no number.",
    )
    add_run_options(parser)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--calibrate", action="store_true", help="measure first, some seconds a kind of work")
    source.add_argument("--rates", type=a_path, metavar="FILE", help="rates as JSON or TOML, whatever their machine")
    parser.add_argument("--only", nargs="+", action="extend", metavar="KIND", help="with --calibrate: measure these")
    parser.set_defaults(run=_plan)


def _plan(arguments: argparse.Namespace) -> None:
    from emogap.errors import UsageError
    from emogap.plan import plan
    from emogap.rates import load_rates, own_rates

    if arguments.only and not arguments.calibrate:
        raise UsageError("--only goes with --calibrate: which kinds of work are measured")
    config = config_from(arguments)
    if arguments.calibrate:
        from emogap.calibrate import calibrate

        calibrate(config, arguments.only)
        print()
    rates = load_rates(arguments.rates) if arguments.rates else own_rates()
    for line in plan(config, rates):
        print(line)
