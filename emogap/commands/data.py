"""Commands about text and its emotions: process, classify, fetch."""

import argparse

from emogap.commands import Commands, add_stage
from emogap.options import a_model, a_path


def register(commands: Commands) -> None:
    _add_process(commands)
    _add_classify(commands)
    _add_fetch(commands)


def _add_process(commands: Commands) -> None:
    parser = add_stage(
        commands,
        "process",
        {
            "--sample": "process.sample",
            "--seed": "seed",
            "--threshold": "process.threshold",
            "--duplicates": "process.duplicates",
            "--workers": "process.workers",
        },
    )
    shorthands = parser.get_default("shorthands")
    parser.add_argument(
        "--raw",
        nargs="+",
        action="extend",
        type=lambda folder: str(a_path(folder)),
        metavar="DIR",
        help="raw directories, from the working directory (else process.raw_dirs, from the repository's root)",
    )
    shorthands["raw"] = "process.raw_dirs"
    parser.add_argument(
        "--classifier",
        type=lambda name: {"name": a_model(name)},  # and none of the profile's revision, which is another model's
        metavar="NAME",
        help="short for --set process.classifier='{ name = \"NAME\" }'",
    )
    shorthands["classifier"] = "process.classifier"
    for name, what in (
        ("strict", "bad bytes, NULs, empty files and the like are errors"),
        ("balance", "draw the emotional lines evenly over the emotions"),
    ):
        parser.add_argument(f"--{name}", action="store_const", const=True, help=what)
        shorthands[name] = f"process.{name}"


def _add_classify(commands: Commands) -> None:
    parser = commands.add_parser(
        "classify",
        help="score the texts of any file with the 28 emotions",
        description="Score texts with the 28 emotions. Writes text, emotion, score, scores and labels, in order.",
    )
    parser.add_argument(
        "--in",
        dest="source",
        required=True,
        type=a_path,
        metavar="FILE",
        help="text (a line each), CSV, TSV, JSONL, Parquet",
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
        "--ray", nargs="?", const="", metavar="ADDRESS", help="by workers of that Ray cluster, or of one started here"
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
    from emogap.config import HubModel, Scale
    from emogap.data.classify import classify_file

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
        description="Bring data sets from their public homes, at a pinned revision, checked. No name: list them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--to", type=a_path, metavar="DIR", help="put the data sets' folders here (data/raw)")
    parser.set_defaults(run=_fetch)


def _fetch(arguments: argparse.Namespace) -> None:
    from emogap.data.fetch import fetch
    from emogap.data.registry import DATA_SETS, RAW, data_set

    if not arguments.names:
        for known in DATA_SETS.values():
            print(f"{known.name:<13}{known.title}\n{'':<13}{known.licence}\n{'':<13}{known.repository}")
    chosen = [data_set(name) for name in arguments.names]
    for wanted in chosen:
        fetch(wanted, (arguments.to or RAW) / wanted.folder)
