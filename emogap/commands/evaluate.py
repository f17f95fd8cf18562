"""Commands that measure: evaluate, and its parts one by one."""

import argparse

from emogap.commands import Commands, add_run_options, add_setting, add_stage, config_from
from emogap.commands.options import a_path


def register(commands: Commands) -> None:
    add_stage(commands, "evaluate")
    _register_respond(commands)
    _register_sentiment(commands)
    _register_questionnaire(commands)


def _add_models(parser: argparse.ArgumentParser) -> None:
    add_setting(parser, "--models", "respond.models", nargs="+", metavar="NAME", help="these models of the study alone")


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
        help="find the emotion of the answers and draw the tables; or the tables from a file of counts alone",
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
    from emogap.errors import UsageError

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
    build.add_argument("--out", type=a_path, metavar="DIR", help="where (quantitative_analysis/questionnaire/)")
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
