"""Commands about the whole study: run, status, doctor."""

import argparse

from emogap.commands import Commands, add_run_options, config_from


def register(commands: Commands) -> None:
    run = commands.add_parser("run", help="run the whole study, or a part of it; what is fresh is skipped")
    add_run_options(run)
    run.add_argument("--from", dest="first", metavar="STAGE", help="begin with this stage")
    run.add_argument("--to", dest="last", metavar="STAGE", help="end with this stage")
    run.add_argument("--only", metavar="STAGE", help="this stage alone")
    run.set_defaults(run=_run)

    status = commands.add_parser("status", help="where each stage stands: missing, fresh, stale (why), rows, time")
    add_run_options(status)
    status.add_argument("--verify", action="store_true", help="hash every artefact again and compare with its manifest")
    status.set_defaults(run=_status)

    doctor = commands.add_parser("doctor", help="what this machine can run")
    add_run_options(doctor)
    doctor.set_defaults(run=_doctor)


def _run(arguments: argparse.Namespace) -> None:
    from emogap.runner import run_stages, select

    stages = select(arguments.first, arguments.last, arguments.only)
    run_stages(config_from(arguments), stages, arguments.settings)


def _status(arguments: argparse.Namespace) -> None:
    from emogap.state import inspect_all, verify_all

    config = config_from(arguments)
    print(f"{config.profile} in {config.home.root}")
    for state in inspect_all(config):
        seconds = f"{state.seconds:,.0f} s" if state.manifests else ""
        rows = ", ".join(f"{value:,} {name}" for name, value in state.counts.items())
        said = "; ".join(filter(None, [*state.reasons, *state.empty, rows]))
        print(f"{state.stage.name:<13} {state.state:<8} {seconds:>8}  {said}")
    if arguments.verify:
        print(f"{verify_all(config)} artefacts verified")


def _doctor(arguments: argparse.Namespace) -> None:
    from emogap.doctor import examine

    for line in examine(config_from(arguments)):
        print(line)
