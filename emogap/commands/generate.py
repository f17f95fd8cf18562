"""Commands that make texts and models: augment, rewrite, grid, import-pickles, clm, sft."""

import argparse
from pathlib import Path

from emogap.commands import Commands, a_path, add_run_options, add_stage, config_from
from emogap.paths import given_path


def register(commands: Commands) -> None:
    add_stage(commands, "augment", {"--chunks": "augment.chunks"})
    add_stage(commands, "rewrite")
    _register_grid(commands)
    _register_import(commands)
    for name in ("clm", "sft"):
        add_stage(commands, name, {"--processes": f"{name}.processes"})


def _register_grid(commands: Commands) -> None:
    parser = commands.add_parser(
        "grid",
        help="compare prompts and samplings over the same lines",
        description="Let the writer answer for one sample of lines (or records) with every template at every sampling, "
        "measure the replies, and compare the cells line by line. A killed run goes on where it stopped; a larger grid "
        "makes only what is new.",
    )
    add_run_options(parser)
    parser.add_argument("--stage", required=True, choices=("augment", "rewrite"), help="stories or rewrites")
    parser.add_argument("--lines", type=int, default=60, metavar="N", help="lines, or records, in every cell (60)")
    parser.add_argument(
        "--templates", default="", metavar="NAMES", help="methods, versions or template files, comma-separated (all)"
    )
    parser.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="PARAMETER=V1,V2",
        help="a parameter of the sampling and its values (temperature=0.3,0.9,1.2); may be given several times",
    )
    parser.set_defaults(run=_grid)


def _grid(arguments: argparse.Namespace) -> None:
    from emogap.trial.grid import make_grid, parse_vary
    from emogap.trial.grid_exhibits import show_grid

    config = config_from(arguments)
    names = [name.strip() for name in arguments.templates.split(",") if name.strip()]
    known = getattr(config, arguments.stage).templates
    templates = [name if name in known or not Path(name).suffix else str(given_path(name)) for name in names]
    vary = parse_vary(arguments.vary or ["temperature=0.3,0.9,1.2"])
    print(make_grid(config, arguments.stage, templates, vary, arguments.lines))
    show_grid(config, arguments.stage)


def _register_import(commands: Commands) -> None:
    parser = commands.add_parser(
        "import-pickles",
        help="take over old chunks of stories (babylm_augment_*.pkl, or Parquet with the same fields)",
        description="Read Parquet or *.pkl chunks (through an unpickler that admits builtin containers, strings and "
        "numbers only), take them through the gates and write them as chunks of a method.",
    )
    add_run_options(parser)
    parser.add_argument("folder", type=a_path, metavar="DIR", help="where the *.pkl or *.parquet files are")
    parser.add_argument("--method", required=True, help="the name of the method they become, such as published-m1")
    parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> None:
    from emogap.stories.import_pickles import import_pickles

    print(import_pickles(config_from(arguments), arguments.folder, arguments.method))
