"""Commands about the texts themselves: corpus, babylm-stats, alpaca-stats."""

import argparse

from emogap.commands import Commands, add_stage, config_from, run_stage
from emogap.options import a_path


def register(commands: Commands) -> None:
    add_stage(
        commands,
        "corpus",
        {
            "--words": "corpus.words",
            "--name": "corpus.name",
            "--near-duplicates": "corpus.near_duplicates",
        },
    )
    _add_statistics(commands, "babylm-stats", "--stories", "augmented_text", ("method", "file"), "published-stories")
    _add_statistics(
        commands, "alpaca-stats", "--rewrites", "rewritten_output", ("version", "file"), "published-rewrites"
    )


def _add_statistics(
    commands: Commands, stage: str, files: str, column: str, groups: tuple[str, ...], preset: str
) -> None:
    parser = add_stage(commands, stage)
    given = parser.add_argument_group("statistics of any files, instead of the home's")
    given.add_argument(
        files,
        dest="files",
        nargs="+",
        type=a_path,
        metavar="FILE",
        help="Parquet, JSON, JSON lines, old .pkl chunks",
    )
    given.add_argument("--column", help=f"where the text stands (such as {column}; found by itself where it is usual)")
    given.add_argument("--group", choices=groups, help=f"what makes a group ({groups[0]} where the files have it)")
    given.add_argument("--preset", help=f"one definition of a word alone, such as {preset}: quick")
    given.add_argument("--out", type=a_path, metavar="DIR", help="where text_statistics.csv, tables and figures go")
    parser.set_defaults(run=lambda arguments: _run(stage, arguments))


def _run(stage: str, arguments: argparse.Namespace) -> None:
    from emogap.errors import UsageError

    if not arguments.files:
        for option in ("column", "group", "preset", "out"):
            if getattr(arguments, option):
                raise UsageError(f"--{option} goes with files; name them, or leave it out to describe the home's")
        run_stage(stage, arguments)
        return
    if not arguments.out:
        raise UsageError("--out DIR is missing: where the statistics of these files go")
    from emogap.evaluate.textstats import REWRITES, STORIES, describe_files

    genre = STORIES if stage == STORIES.stage else REWRITES
    table = describe_files(
        arguments.files,
        arguments.out,
        genre,
        config_from(arguments),
        arguments.column,
        arguments.group,
        arguments.preset,
    )
    texts = table[table["measure"] == "texts"].drop_duplicates("group")
    groups = ", ".join(f"{group} {int(value):,}" for group, value in zip(texts["group"], texts["value"], strict=True))
    print(f"{stage}: {arguments.out / 'text_statistics.csv'} written ({groups} {genre.name})")
