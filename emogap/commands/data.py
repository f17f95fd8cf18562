"""Commands about text and its emotions: process, classify, train-classifier, fetch."""

from pathlib import Path

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    _add_process(commands)


def _add_process(commands: Commands) -> None:
    parser = add_stage(
        commands,
        "process",
        {
            "--sample": "process.sample",
            "--seed": "seed",
            "--classifier": "process.classifier.name",
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
        type=lambda folder: str(Path(folder).expanduser().resolve()),
        metavar="DIR",
        help="raw directories, from the working directory (else process.raw_dirs, from the repository's root)",
    )
    shorthands["raw"] = "process.raw_dirs"
    for name, what in (
        ("strict", "bad bytes, NULs, empty files and the like are errors"),
        ("balance", "draw the emotional lines evenly over the emotions"),
    ):
        parser.add_argument(f"--{name}", action="store_const", const="true", help=what)
        shorthands[name] = f"process.{name}"
