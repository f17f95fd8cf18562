"""Commands about the whole study: run, status, doctor, settings, plan, datasheet, report."""

import argparse
from contextlib import suppress

from emogap.commands import Commands, a_path, add_run_options, config_from, run_stage
from emogap.config import forget
from emogap.errors import MissingInput, UsageError
from emogap.home_settings import kept, parent_of, toml
from emogap.study.stages import stage


def register(commands: Commands) -> None:
    run = commands.add_parser("run", help="run the whole study, or a part of it; what is fresh is skipped")
    add_run_options(run)
    run.add_argument("--from", dest="first", metavar="STAGE", help="begin with this stage")
    run.add_argument("--to", dest="last", metavar="STAGE", help="end with this stage")
    run.add_argument("--only", metavar="STAGE", help="run only this stage")
    run.set_defaults(run=_run)

    status = commands.add_parser("status", help="where each stage stands: missing, fresh, stale (why), rows, time")
    add_run_options(status)
    status.add_argument("--verify", action="store_true", help="hash every artefact again and compare with its manifest")
    status.set_defaults(run=_status)

    doctor = commands.add_parser("doctor", help="what this machine can run")
    add_run_options(doctor)
    doctor.set_defaults(run=_doctor)
    _add_settings(commands)
    _add_plan(commands)
    _add_datasheet(commands)
    _add_report(commands)


def _add_settings(commands: Commands) -> None:
    parser = commands.add_parser(
        "settings",
        help="what a home sets beside its profile; all settings, with the published ones and what they mean",
        description="Without a name: what the home sets beside its profile (settings.toml in it). With names of "
        "sections or settings: their values, the published ones, and what they mean.",
    )
    add_run_options(parser)
    parser.add_argument("names", nargs="*", metavar="SECTION[.KEY]", help="sections or settings to show; 'all' for all")
    parser.add_argument(
        "--forget", nargs="*", metavar="KEY", help="take these back; without a key, all that the home sets"
    )
    parser.set_defaults(run=_settings)


def _add_plan(commands: Commands) -> None:
    parser = commands.add_parser(
        "plan",
        help="hours and disk of a whole study, judged by work already done",
        description="Estimate every stage of a profile from the work done in a home that has begun it or in one like "
        "it, or from tables of rates. Where too little was done, or under other settings, there is no number.",
    )
    add_run_options(parser)
    parser.add_argument(
        "--from", dest="sources", nargs="+", type=a_path, metavar="HOME",
        help="homes, tables of rates or a folder of them; the first that can judge a row does (the profile's own home)",
    )  # fmt: skip
    for gone in ("--calibrate", "--rates", "--only"):
        parser.add_argument(gone, dest="gone", nargs="*", help=argparse.SUPPRESS)
    parser.set_defaults(run=_plan)


def _add_datasheet(commands: Commands) -> None:
    parser = commands.add_parser(
        "datasheet",
        help="what each trained model has seen, as the BabyLM challenge asks",
        description="For each trained model: words per epoch by source, words seen, which text other models wrote or "
        "chose, and in which tracks of the BabyLM challenge the model can be entered.",
    )
    add_run_options(parser)
    parser.set_defaults(run=_datasheet)


def _add_report(commands: Commands) -> None:
    described = stage("report")
    parser = commands.add_parser(
        "report",
        help=described.title,
        description=f"{described.title}: {described.writes} in the home. With two homes, both runs side by side, with "
        "what differs and what changed on top: report/beside-<second>.html in the first.",
        conflict_handler="resolve",
    )
    add_run_options(parser)
    parser.add_argument(
        "--home", dest="homes", action="append", default=[], metavar="HOME", help="home of a run; given twice: of two"
    )
    parser.add_argument(
        "--export",
        type=a_path,
        metavar="DIR",
        help="for a paper: figures at column width, tables for LaTeX and as CSV, and every number under a name",
    )
    parser.set_defaults(run=_report)


def _run(arguments: argparse.Namespace) -> None:
    from emogap.study.runner import run_stages, select

    stages = select(arguments.first, arguments.last, arguments.only)
    run_stages(config_from(arguments, keep=True), stages, arguments.settings)


def _settings(arguments: argparse.Namespace) -> None:
    config = config_from(arguments)
    if arguments.forget is not None:
        for key in forget(config, arguments.forget):
            print(f"{config.home.root}: {key} is the profile's again")
    elif arguments.names:
        names = [] if arguments.names == ["all"] else arguments.names
        for row in config.show(*names).itertuples():
            published = f" (published: {row.published})" if row.published not in ("", row.value) else ""
            print(f"{row.setting} = {row.value}{published}\n    {row.meaning}")
    else:
        own = kept(config.home.root)
        for key, value in own.items():
            print(f"{key} = {toml(value)}")
        print(f"{config.home.root} sets {len(own) or 'nothing'} beside the profile {config.profile}")


def _status(arguments: argparse.Namespace) -> None:
    from emogap.study.state import inspect_all, verify_all

    config = config_from(arguments)
    own, parent = ", ".join(kept(config.home.root)), parent_of(config.home.root)
    print(f"{config.profile} in {config.home.root}{f', which sets {own}' if own else ''}")
    for state in inspect_all(config):
        seconds = f"{state.seconds:,.0f} s" if state.manifests else ""
        rows = ", ".join(f"{value:,} {name}" for name, value in state.counts.items())
        taken = sum("from" in manifest for manifest in state.manifests)
        taken_over = f"{taken} of {len(state.manifests)} from {parent}" if taken else ""
        said = "; ".join(filter(None, [*state.reasons, *state.empty, taken_over, rows]))
        print(f"{state.stage.name:<13} {state.state:<8} {seconds:>8}  {said}")
    if arguments.verify:
        print(f"{verify_all(config)} artefacts verified")


def _doctor(arguments: argparse.Namespace) -> None:
    from emogap.study.doctor import examine

    for line in examine(config_from(arguments)):
        print(line)


def _plan(arguments: argparse.Namespace) -> None:
    if arguments.gone is not None:
        raise UsageError(
            "--calibrate, --rates and --only are gone: prices come from what was done; give --from HOME, a home that "
            "has begun this profile or one like it, or --from FILE.csv, a table of rates"
        )
    from emogap.study.plan import RATES, plan
    from emogap.train.strategies import check_data

    config = config_from(arguments)
    for task in ("clm", "sft"):
        with suppress(MissingInput):  # a file of records may come later
            check_data(config, task)
    sources = arguments.sources or [config.home.root]
    for source in sources:
        if arguments.sources and source != RATES and not source.exists():
            raise UsageError(f"--from {source}: there is no such home or table; give one that is there")
    for line in plan(config, sources):
        print(line)


def _datasheet(arguments: argparse.Namespace) -> None:
    from emogap.study.datasheet import data_sheets

    config = config_from(arguments)
    sheets = data_sheets(config)
    print(*sheets or [f"no model is trained in {config.home.root}; run `emogap clm`"], sep="\n\n")


def _report(arguments: argparse.Namespace) -> None:
    if len(arguments.homes) > 2:
        raise UsageError(f"--home is given {len(arguments.homes)} times; one run, or two side by side")
    if len(arguments.homes) == 2:
        if arguments.export:
            raise UsageError("--export takes one run; give one --home")
        _report_pair(arguments)
        return
    arguments.home = next(iter(arguments.homes), None)
    if arguments.export:
        _export(arguments)
    else:
        run_stage("report", arguments)


def _export(arguments: argparse.Namespace) -> None:
    from emogap.report.export import export
    from emogap.study.state import inspect_all

    config = config_from(arguments)
    for state in inspect_all(config):
        if state.state == "stale" and state.stage.name != "report":
            print(f"{state.stage.name} is stale ({'; '.join(state.reasons)}); what it last made is exported")
    print(export(config.home, arguments.export))


def _report_pair(arguments: argparse.Namespace) -> None:
    from emogap.report.pair import report_pair

    homes = [config_from(argparse.Namespace(**vars(arguments) | {"home": home})).home for home in arguments.homes]
    print(report_pair(*homes))
