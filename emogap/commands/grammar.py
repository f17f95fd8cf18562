"""Commands that measure grammar and the understanding of emotions: blimp, emobench."""

import argparse
from typing import TYPE_CHECKING

from emogap.commands import Commands, add_run_options, config_from
from emogap.options import a_path

if TYPE_CHECKING:
    from emogap.config import Config, HubModel


def register(commands: Commands) -> None:
    _register_blimp(commands)
    _register_emobench(commands)


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        nargs="+",
        action="extend",
        metavar="DIR_OR_NAME",
        help="a folder, owner/name[@revision] on the hub, or a model of the study (all models of the study)",
    )
    parser.add_argument(
        "--base", nargs="+", action="extend", default=[], metavar="DIR_OR_NAME",
        help="what the models are compared with (the study's bases among them)",
    )  # fmt: skip
    parser.add_argument("--out", type=a_path, metavar="FILE.parquet", help="the table of scores")
    parser.add_argument("--tables", type=a_path, metavar="DIR", help="tables and figures: CSV, LaTeX, PNG, PDF")


def _register_blimp(commands: Commands) -> None:
    parser = commands.add_parser(
        "blimp",
        help="grammar: which sentence of a minimal pair is the likelier one",
        description="Score minimal pairs (BLiMP, its supplement, one's own) with models, and compare these with their "
        "base. Goes on where a killed run stopped, a paradigm at a time.",
    )
    add_run_options(parser)
    _add_models(parser)
    parser.add_argument("--data", type=a_path, metavar="DIR", help="<UID>.jsonl or .jsonl.gz files (blimp.data)")
    parser.add_argument("--items", metavar="N", help="the first N pairs of each paradigm (all)")
    parser.add_argument("--subset", type=a_path, metavar="IDS.json", help="score these alone: paradigm → pair ids")
    parser.add_argument(
        "--published", type=a_path, metavar="FILE.csv", help="to put beside: model, phenomenon, accuracy"
    )
    parser.add_argument("--paradigms", action="store_const", const=True, help="with --tables: each paradigm too")
    names = ("data", "items", "subset", "paradigms")
    parser.set_defaults(run=_blimp, shorthands={name: f"blimp.{name}" for name in names})


def _models(config: "Config", arguments: argparse.Namespace) -> "tuple[dict[str, HubModel], dict[str, str]]":
    """Label → model, and label → the base it is compared with."""
    from emogap.evaluate.models import study_models
    from emogap.evaluate.named_models import bases_of, named_models

    wanted = arguments.model or [model.key for model in study_models(config)]
    models = named_models(config, [*arguments.base, *wanted])
    bases = list(named_models(config, arguments.base)) or [label for label in models if label in config.bases]
    return models, dict(bases_of(models, bases))


def _blimp(arguments: argparse.Namespace) -> None:
    from emogap.evaluate import blimp, blimp_exhibits
    from emogap.records import SCORES, read_rows

    config = config_from(arguments)
    models, bases = _models(config, arguments)
    if arguments.out:
        artefact = blimp.scores_file(config, models, arguments.out)
        scores, contexts = read_rows(artefact.path, SCORES), artefact.manifest()["notes"]["empty context"]
    else:
        scores, contexts = blimp.score_models(config, models)
    print(blimp_exhibits.printed(scores, bases, list(contexts.values()), arguments.published))
    if arguments.tables:
        blimp_exhibits.draw(arguments.tables, scores, bases, config.blimp.paradigms, arguments.published)
    _say_where(arguments)


def _register_emobench(commands: Commands) -> None:
    parser = commands.add_parser(
        "emobench",
        help="understanding of emotions: EmoBench's multiple-choice questions",
        description="Answer EmoBench's questions (EA and EU, English) by the likelihood of their choices, listed in "
        "several orders and not listed, beside chance.",
    )
    add_run_options(parser)
    _add_models(parser)
    parser.add_argument("--data", type=a_path, metavar="DIR", help="EA.jsonl and EU.jsonl (emobench.data)")
    parser.add_argument("--items", metavar="N", help="the first N records of each file (all)")
    parser.add_argument("--orders", metavar="N", help="orders in which choices are listed (each choice in each place)")
    parser.add_argument("--language", choices=("en", "zh"), help="which of EmoBench's languages (en)")
    names = ("data", "items", "orders", "language")
    parser.set_defaults(run=_emobench, shorthands={name: f"emobench.{name}" for name in names})


def _emobench(arguments: argparse.Namespace) -> None:
    from emogap.evaluate import emobench, emobench_exhibits
    from emogap.records import SCORES, read_rows

    config = config_from(arguments)
    models, bases = _models(config, arguments)
    if arguments.out:
        scores = read_rows(emobench.scores_file(config, models, arguments.out).path, SCORES)
    else:
        scores = emobench.score_models(config, models)
    drawn = (config.sentiment.bootstrap, config.seed)
    print(emobench_exhibits.printed(scores, bases, *drawn))
    if arguments.tables:
        emobench_exhibits.draw(arguments.tables, scores, bases, *drawn)
    _say_where(arguments)


def _say_where(arguments: argparse.Namespace) -> None:
    if arguments.tables:
        print(f"tables and figures: {arguments.tables}")
    if arguments.out:
        print(f"scores: {arguments.out}")
