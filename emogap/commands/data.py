"""Commands about texts: process, classify, fetch, corpus, babylm-stats, alpaca-stats, share."""

import argparse

from emogap.commands import Commands, a_model, a_path, add_run_options, add_setting, add_stage, config_from, run_stage
from emogap.config import HubModel, Scale
from emogap.errors import UsageError


def register(commands: Commands) -> None:
    _add_process(commands)
    _add_classify(commands)
    _add_fetch(commands)
    corpus = {"--words": "corpus.words", "--name": "corpus.name", "--near-duplicates": "corpus.near_duplicates"}
    add_stage(commands, "corpus", corpus)
    _add_statistics(commands, "babylm-stats", "--stories", "augmented_text", ("method", "file"), "published-stories")
    _add_statistics(
        commands, "alpaca-stats", "--rewrites", "rewritten_output", ("version", "file"), "published-rewrites"
    )
    _add_share(commands)


def _add_process(commands: Commands) -> None:
    names = ("sample", "threshold", "duplicates", "workers")
    parser = add_stage(commands, "process", {"--seed": "seed"} | {f"--{name}": f"process.{name}" for name in names})
    add_setting(
        parser, "--raw", "process.raw_dirs", nargs="+", type=lambda folder: str(a_path(folder)), metavar="DIR",
        help="raw directories, relative to the working directory (default: process.raw_dirs, relative to the "
        "repository's root)",
        action="extend",
    )  # fmt: skip
    add_setting(
        parser, "--classifier", "process.classifier", metavar="NAME",
        type=lambda name: {"name": a_model(name)},  # without the revision in the profile, which is another model's
        help="short for --set process.classifier='{ name = \"NAME\" }'",
    )  # fmt: skip
    for name, what in (
        ("strict", "bad bytes, NULs, empty files and the like are errors"),
        ("balance", "sample the emotional lines evenly over the emotions"),
    ):
        add_setting(parser, f"--{name}", f"process.{name}", action="store_const", const=True, help=what)


def _add_classify(commands: Commands) -> None:
    parser = commands.add_parser(
        "classify",
        help="score the texts of any file with the 28 emotions",
        description="Score texts with the 28 emotions. Writes text, emotion, score, scores and labels, in file order.",
    )
    parser.add_argument(
        "--in",
        dest="source",
        required=True,
        type=a_path,
        metavar="FILE",
        help="text (one per line), CSV, TSV, JSONL, Parquet",
    )
    parser.add_argument("--out", required=True, type=a_path, metavar="FILE.parquet")
    parser.add_argument(
        "--column",
        help="which column holds the texts (text, or the only one); its number, if there is no header",
    )
    parser.add_argument(
        "--threshold", default=0.5, type=_threshold, help="what a label's score must pass: a number, or tuned (0.5)"
    )
    parser.add_argument(
        "--classifier",
        type=a_model,
        default="emotion-minilm",
        help="emotion-minilm, emotion-tfidf, a hub id or a folder",
    )
    parser.add_argument("--revision", default="main", help="of a hub model: a commit, tag or branch (main)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 …")
    parser.add_argument("--dtype", default="auto", choices=("auto", "bf16", "fp16", "fp32"))
    parser.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS", help="use workers of that Ray cluster, or of one started here"
    )
    parser.set_defaults(run=_classify)


def _threshold(word: str) -> float | str:
    if word == "tuned":
        return word
    value = float(word)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{word} is not between 0 and 1")
    return value


def _classify(arguments: argparse.Namespace) -> None:
    from emogap.emotion.classify import classify_file

    summary = classify_file(
        arguments.source,
        arguments.out,
        column=arguments.column,
        threshold=arguments.threshold,
        model=HubModel(name=arguments.classifier, revision=arguments.revision),
        device=arguments.device,
        dtype=arguments.dtype,
        scale=Scale() if arguments.ray is None else Scale(executor="ray", address=arguments.ray),
    )
    print(summary)
    print(f"labels: all whose score passes the threshold ({arguments.threshold}) of {arguments.classifier}")


def _add_fetch(commands: Commands) -> None:
    parser = commands.add_parser(
        "fetch",
        help="bring data sets from their public homes",
        description="Bring data sets from their public homes, at a pinned revision, checked. Without names: list them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--to", type=a_path, metavar="DIR", help="put the data sets' folders here (data/raw)")
    parser.set_defaults(run=_fetch)


def _fetch(arguments: argparse.Namespace) -> None:
    from emogap.fetch.download import fetch
    from emogap.fetch.registry import DATA_SETS, RAW, data_set

    if not arguments.names:
        for known in DATA_SETS.values():
            print(f"{known.name:<13}{known.title}\n{'':<13}{known.licence}\n{'':<13}{known.repository}")
    chosen = [data_set(name) for name in arguments.names]
    for wanted in chosen:
        fetch(wanted, (arguments.to or RAW) / wanted.folder)


def _add_share(commands: Commands) -> None:
    parser = commands.add_parser(
        "share",
        help="hand on corpora, stories and rewrites as data sets with cards",
        description="Write the corpora, stories and rewrites of a home into DIR as folders that "
        "datasets.load_dataset reads, each with a card made from the manifests; print the commands that upload them "
        "and the models to a model hub.",
    )
    parser.add_argument("folder", type=a_path, metavar="DIR")
    add_run_options(parser)
    parser.set_defaults(run=_share)


def _share(arguments: argparse.Namespace) -> None:
    from emogap.share.data_sets import share

    delivery, uploads = share(config_from(arguments).home, arguments.folder)
    print(delivery)
    print("read the cards; then, with OWNER your name on the hub:", *uploads, sep="\n")


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
    given.add_argument("--column", help=f"the column of the text (such as {column}; a usual name is found by itself)")
    given.add_argument("--group", choices=groups, help=f"what groups the texts ({groups[0]} where the files have it)")
    given.add_argument("--preset", help=f"use only this definition of a word, such as {preset}: quick")
    given.add_argument("--out", type=a_path, metavar="DIR", help="where text_statistics.csv, tables and figures go")
    parser.set_defaults(run=lambda arguments: _describe(stage, arguments))


def _describe(stage: str, arguments: argparse.Namespace) -> None:
    if not arguments.files:
        for option in ("column", "group", "preset", "out"):
            if getattr(arguments, option):
                raise UsageError(f"--{option} goes with files; name them, or leave it out to describe the home's")
        run_stage(stage, arguments)
        return
    if not arguments.out:
        raise UsageError("--out DIR is missing: where the statistics of these files go")
    from emogap.textstats.stage import REWRITES, STORIES, describe_files

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
