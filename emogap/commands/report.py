"""The command that shows it all: report."""

import argparse

from emogap.commands import Commands, add_run_options, config_from, run_stage
from emogap.stages import stage


def register(commands: Commands) -> None:
    described = stage("report")
    parser = commands.add_parser(
        "report",
        help=described.title,
        description=f"{described.title}: {described.writes} in the home. With two homes, both runs side by side, with "
        "the settings that differ on top: report/beside-<second>.html in the first.",
        conflict_handler="resolve",
    )
    add_run_options(parser)
    parser.add_argument(
        "--home", dest="homes", action="append", default=[], metavar="HOME", help="of a run; given twice: of two runs"
    )
    parser.set_defaults(run=_report)


def _report(arguments: argparse.Namespace) -> None:
    from emogap.errors import UsageError

    if len(arguments.homes) > 2:
        raise UsageError(f"--home is given {len(arguments.homes)} times; one run, or two side by side")
    if len(arguments.homes) == 2:
        _report_pair(arguments)
        return
    arguments.home = next(iter(arguments.homes), None)
    run_stage("report", arguments)


def _report_pair(arguments: argparse.Namespace) -> None:
    from emogap.show.report_pair import report_pair

    homes = [config_from(argparse.Namespace(**vars(arguments) | {"home": home})).home for home in arguments.homes]
    print(report_pair(*homes))
