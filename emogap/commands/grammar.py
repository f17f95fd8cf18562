"""Commands that measure grammar and the understanding of emotions: blimp, emobench."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.commands import Commands, add_run_options, add_setting, config_from
from emogap.commands.options import a_path
from emogap.errors import UsageError
from emogap.paths import from_root

if TYPE_CHECKING:
    import pandas as pd

    from emogap.config import Config, HubModel
    from emogap.grammar.tasks import Task
    from emogap.store.exhibits import Shown
    from emogap.train.models import Comparison


def register(commands: Commands) -> None:
    blimp = _add(
        commands,
        "blimp",
        "grammar: which sentence of a minimal pair is the likelier one",
        "Score minimal pairs (BLiMP, its supplement, one's own) with models, and compare these with their base; or the "
        "zero-shot tasks of the BabyLM challenge, whose evaluation_data is read as it is. Goes on where a killed run "
        "stopped, a paradigm at a time.",
        {
            "data": {
                "type": a_path, "metavar": "DIR",
                "help": "<UID>.jsonl or .jsonl.gz files (blimp.data), or evaluation_data or a part of it",
            },
            "items": {"metavar": "N", "help": "the first N pairs of each paradigm (all)"},
            "subset": {"type": a_path, "metavar": "IDS.json", "help": "score these alone: paradigm → pair ids"},
            "paradigms": {"action": "store_const", "const": True, "help": "with --tables: each paradigm too"},
        },
    )  # fmt: skip
    add_setting(
        blimp, "--convention", "babylm.convention", choices=("study", "2024", "2025", "2026"),
        help="score as the challenge of that year does, minimal pairs too (evaluation_data: 2026)",
    )  # fmt: skip
    blimp.add_argument("--export", choices=("babylm",), help="write the predictions that the challenge's reader takes")
    blimp.add_argument(
        "--results", type=a_path, default=Path("results"), metavar="DIR", help="where --export writes (results)"
    )
    blimp.add_argument(
        "--published", type=a_path, metavar="FILE.csv", help="to put beside: model, phenomenon, accuracy"
    )
    blimp.set_defaults(run=_blimp)
    emobench = _add(
        commands,
        "emobench",
        "understanding of emotions: EmoBench's multiple-choice questions",
        "Answer EmoBench's questions (EA and EU, English) by the likelihood of their choices, listed in several orders "
        "and not listed, beside chance.",
        {
            "data": {"type": a_path, "metavar": "DIR", "help": "EA.jsonl and EU.jsonl (emobench.data)"},
            "items": {"metavar": "N", "help": "the first N records of each file (all)"},
            "orders": {"metavar": "N", "help": "orders in which choices are listed (each choice in each place)"},
            "language": {"choices": ("en", "zh"), "help": "which of EmoBench's languages (en)"},
        },
    )
    emobench.set_defaults(run=_emobench)


def _add(
    commands: Commands, name: str, title: str, description: str, settings: Mapping[str, dict]
) -> argparse.ArgumentParser:
    """The command of a task: which models, where to, and options that are short for settings of its section."""
    parser = commands.add_parser(name, help=title, description=description)
    add_run_options(parser)
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
    for setting, option in settings.items():
        add_setting(parser, f"--{setting}", f"{name}.{setting}", **option)
    return parser


def _blimp(arguments: argparse.Namespace) -> None:
    from emogap.grammar.blimp import BLIMP
    from emogap.grammar.blimp_tables import blimp_exhibits, printed
    from emogap.grammar.zero_shot import is_evaluation

    config = config_from(arguments)
    folder = from_root(config.blimp.data)
    if arguments.export or arguments.convention or (arguments.data and is_evaluation(folder)):
        _zero_shot(arguments, config, folder)
    else:
        _measure(BLIMP, config, arguments, printed, blimp_exhibits, published=arguments.published)


def _zero_shot(arguments: argparse.Namespace, config: "Config", folder: Path) -> None:
    """The challenge's sets in ``--data``, else those that the settings name."""
    from emogap.grammar.zero_shot import BABYLM
    from emogap.grammar.zero_shot_tables import export, printed, zero_shot_exhibits

    for option in ("subset", "published", "paradigms"):
        if getattr(arguments, option):
            raise UsageError(f"--{option} is for minimal pairs alone; leave it out, or --export and --convention")
    if arguments.data or not config.babylm.data:
        config = config.with_section("babylm", data=[str(folder)])
    if arguments.items:
        config = config.with_section("babylm", items=config.blimp.items)
    scores, models = _measure(BABYLM, config, arguments, printed, zero_shot_exhibits)
    if arguments.export:
        written = export(config, scores, models, arguments.results)
        print(f"predictions: {len(written)} files under {arguments.results}")


def _emobench(arguments: argparse.Namespace) -> None:
    from emogap.grammar.emobench import EMOBENCH
    from emogap.grammar.emobench_tables import emobench_exhibits, printed

    _measure(EMOBENCH, config_from(arguments), arguments, printed, emobench_exhibits)


def _measure(
    task: "Task",
    config: "Config",
    arguments: argparse.Namespace,
    printed: Callable[..., str],
    exhibits: "Callable[..., Iterator[Shown]]",
    **beside: Path | None,
) -> "tuple[pd.DataFrame, dict[str, HubModel]]":
    """Score, print and write what was asked for; the scores, and label → model."""
    from emogap.store.exhibits import show

    (models, *held), out = _models(config, arguments), arguments.out
    found = task.to_file(config, models, out, *held) if out else task.of_models(config, models, *held)
    print(printed(config, found, **beside))
    if arguments.tables:
        show(arguments.tables, exhibits(config, found, **beside))
        print(f"tables and figures: {arguments.tables}")
    if out:
        print(f"scores: {out}")
    return found.scores, models


def _models(
    config: "Config", arguments: argparse.Namespace
) -> "tuple[dict[str, HubModel], list[Comparison], list[str]]":
    """Label → model, which of them are held against each other, and the bases among them."""
    from emogap.train.models import TUNED, Comparison, bases_of, comparisons, named_models, study_models

    wanted = arguments.model or [model.key for model in study_models(config)]
    models = named_models(config, [*arguments.base, *wanted])
    bases = list(named_models(config, arguments.base)) or [label for label in models if label in config.bases]
    known = [] if arguments.base else comparisons(config, "key")
    pairs = [pair for pair in known if pair.model in models and pair.other in models]
    told = {pair.model for pair in pairs} | {one.key for one in study_models(config) if one.base == one.name}
    pairs += [
        Comparison(label, base, TUNED)
        for label, base in bases_of(models, bases).items()
        if label != base and label not in told
    ]
    return models, pairs, bases
