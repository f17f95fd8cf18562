"""Commands that measure: evaluate and its parts one by one, benchmarks (blimp, emobench), and lens."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from emogap.commands import Commands, a_path, add_run_options, add_setting, add_stage, config_from, run_stage
from emogap.errors import UsageError
from emogap.paths import from_root

if TYPE_CHECKING:
    import pandas as pd

    from emogap.config import Config, HubModel
    from emogap.grammar.tasks import Task
    from emogap.store.exhibits import Shown
    from emogap.train.models import Comparison


def register(commands: Commands) -> None:
    add_stage(commands, "evaluate")
    _register_respond(commands)
    _register_sentiment(commands)
    _register_questionnaire(commands)
    _register_benchmarks(commands)
    _register_lens(commands)


def _add_models(parser: argparse.ArgumentParser) -> None:
    add_setting(parser, "--models", "respond.models", nargs="+", metavar="NAME", help="only these models of the study")


def _register_respond(commands: Commands) -> None:
    parser = commands.add_parser("respond", help="let every model of the study answer every instruction prompt")
    add_run_options(parser)
    _add_models(parser)
    add_setting(
        parser,
        "--prompts",
        "respond.prompts",
        type=a_path,
        metavar="FILE",
        help="instruction prompts (respond.prompts)",
    )
    add_setting(parser, "--samples", "respond.samples", metavar="N")
    parser.set_defaults(run=_respond)


def _respond(arguments: argparse.Namespace) -> None:
    from emogap.answers.respond import respond

    print(respond(config_from(arguments)))


def _register_sentiment(commands: Commands) -> None:
    parser = commands.add_parser(
        "sentiment",
        help="find the emotion of the answers and make the tables, or only the tables from a file of counts",
    )
    add_run_options(parser)
    _add_models(parser)
    parser.add_argument(
        "--counts",
        type=a_path,
        metavar="FILE.csv",
        help="columns model, instruction_emotion, response_emotion, count; or the study's own results in JSON",
    )
    parser.add_argument("--out", type=a_path, metavar="DIR", help="with --counts: where the tables are written")
    add_setting(parser, "--grouping", "sentiment.grouping", help="short for --set sentiment.grouping=study|goemotions")
    parser.set_defaults(run=_sentiment)


def _sentiment(arguments: argparse.Namespace) -> None:
    if (arguments.counts is None) != (arguments.out is None):
        raise UsageError("--counts FILE.csv and --out DIR belong together; give both or neither")
    config = config_from(arguments)
    if arguments.counts is None:
        from emogap.study.evaluate import measure_sentiment

        print(measure_sentiment(config))
        return
    from emogap.answers.sentiment_exhibits import counts_exhibits

    for path in counts_exhibits(arguments.counts, arguments.out, config.sentiment.grouping):
        print(path)


def _register_questionnaire(commands: Commands) -> None:
    parser = commands.add_parser("questionnaire", help="let people choose among the models' answers: build, analyse")
    parts = parser.add_subparsers(title="parts", metavar="PART", required=True)
    build = parts.add_parser("build", help="write the questionnaire: a page that works offline, and its key")
    add_run_options(build)
    build.add_argument("--prompts", type=int, default=30, metavar="N", help="how many prompts are asked (30)")
    build.add_argument("--checks", type=int, default=3, metavar="N", help="how many attention checks are mixed in (3)")
    build.add_argument("--out", type=a_path, metavar="DIR", help="where it goes (quantitative_analysis/questionnaire/)")
    build.set_defaults(run=_build_questionnaire)
    analyse = parts.add_parser("analyse", help="shares, strengths and agreement from the files that raters sent back")
    add_run_options(analyse)
    analyse.add_argument("answers", type=a_path, nargs="+", metavar="FILE.csv", help="raters' files")
    analyse.add_argument("--key", type=a_path, help="the key of the questionnaire (the one of this home)")
    analyse.set_defaults(run=_analyse_questionnaire)


def _build_questionnaire(arguments: argparse.Namespace) -> None:
    from emogap.preference.questionnaire import KEY, build_questionnaire

    config = config_from(arguments)
    folder = arguments.out or config.home.evaluation / "questionnaire"
    page = build_questionnaire(config, folder, arguments.prompts, arguments.checks)
    print(f"{page}: send it to raters; keep {KEY} beside it to yourself, it says which model wrote what")


def _analyse_questionnaire(arguments: argparse.Namespace) -> None:
    from emogap.preference.questionnaire import KEY, read_votes, show_preference

    config = config_from(arguments)
    key = arguments.key or config.home.evaluation / "questionnaire" / KEY
    print(show_preference(config, read_votes(arguments.answers, key)))


# --- benchmarks ------------------------------------------------------------------------------------------------------


def _register_benchmarks(commands: Commands) -> None:
    blimp = _add_benchmark(
        commands,
        "blimp",
        "grammar: which sentence of a minimal pair is the likelier one",
        "Score minimal pairs (BLiMP, its supplement, one's own) with models, and compare the models with their base; "
        "or score the zero-shot tasks of the BabyLM challenge, whose evaluation_data is read as it is. A killed run "
        "goes on at the paradigm where it stopped.",
        {
            "data": {
                "type": a_path, "metavar": "DIR",
                "help": "<UID>.jsonl or .jsonl.gz files (blimp.data), or evaluation_data or a part of it",
            },
            "items": {"metavar": "N", "help": "the first N pairs of each paradigm (all)"},
            "subset": {"type": a_path, "metavar": "IDS.json", "help": "score only these: paradigm → pair ids"},
            "paradigms": {"action": "store_const", "const": True, "help": "with --tables: also for each paradigm"},
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
        "--published", type=a_path, metavar="FILE.csv", help="accuracies to put beside: model, phenomenon, accuracy"
    )
    blimp.set_defaults(run=_blimp)
    emobench = _add_benchmark(
        commands,
        "emobench",
        "understanding of emotions: EmoBench's multiple-choice questions",
        "Answer EmoBench's questions (EA and EU) by the likelihood of their choices, listed in several orders and "
        "also not listed, and compare the accuracy with chance.",
        {
            "data": {"type": a_path, "metavar": "DIR", "help": "EA.jsonl and EU.jsonl (emobench.data)"},
            "items": {"metavar": "N", "help": "the first N records of each file (all)"},
            "orders": {"metavar": "N", "help": "in how many orders the choices are listed (each choice in each place)"},
            "language": {"choices": ("en", "zh"), "help": "which of EmoBench's languages (en)"},
        },
    )
    emobench.set_defaults(run=_emobench)


def _add_benchmark(
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
    """Score the challenge's sets in ``--data``, else those that the settings name."""
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
    """Score, print and write what was asked for; return the scores, and label → model."""
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
    """Label → model, which of them are compared with each other, and the bases among them."""
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


# --- lens ------------------------------------------------------------------------------------------------------------


def _register_lens(commands: Commands) -> None:
    parser = add_stage(commands, "lens", {"--new-tokens": "lens.new_tokens", "--top": "lens.top_k"})
    given = parser.add_argument_group("any models and texts, instead of the study's")
    given.add_argument(
        "--model",
        dest="models",
        nargs="+",
        action="extend",
        metavar="DIR_OR_NAME",
        help="a model of the study, a folder, embedded:NAME or owner/name[@revision] on the hub; the first is the base "
        "of the others",
    )
    given.add_argument("--text", dest="texts", action="append", metavar="TEXT", help="a text; may be given repeatedly")
    given.add_argument("--file", type=a_path, help="a text file, one text per line")
    add_setting(given, "--words", "lens.words", nargs="+", metavar="WORD", help="target words (lens.words)")
    given.add_argument("--measure", metavar="NAME", help="the heat maps' colour (rank): top_1, entropy, kl_to_final, "
                       "cross_entropy, emotion:LABEL, word:WORD")  # fmt: skip
    given.add_argument("--positions", type=int, metavar="N", help="how many of a text's last positions are drawn (28)")
    given.add_argument("--out", type=a_path, metavar="DIR", help="where readings, tables and figures go (lens/)")
    parser.set_defaults(run=_lens)


def _lens(arguments: argparse.Namespace) -> None:
    if arguments.models is None:
        for option in ("texts", "file", "words", "measure", "positions", "out"):
            if getattr(arguments, option) is not None:
                name = "text" if option == "texts" else option
                raise UsageError(f"--{name} goes with --model; name a model, or leave it out to read the study's")
        run_stage("lens", arguments)
        return
    from emogap.lens.stage import lens_of_texts

    config = config_from(arguments)
    options = {name: value for name in ("measure", "positions") if (value := getattr(arguments, name)) is not None}
    for line in lens_of_texts(config, arguments.models, _texts(arguments), arguments.out or Path("lens"), **options):
        print(line)


def _texts(arguments: argparse.Namespace) -> dict[str, str]:
    """Prompt id → text: those given, else those of the file, else the study's sentences."""
    from emogap.lens.stage import load_sentences

    texts = list(arguments.texts or [])
    if arguments.file is not None:
        texts += load_sentences(arguments.file)
    if not texts:
        texts = load_sentences(config_from(arguments).lens.sentences)
    return {f"t{number}": text for number, text in enumerate(texts)}
