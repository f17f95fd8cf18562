"""The command that looks inside: lens."""

import argparse
from pathlib import Path

from emogap.commands import Commands, add_setting, add_stage, config_from, run_stage
from emogap.commands.options import a_path


def register(commands: Commands) -> None:
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
    given.add_argument("--file", type=a_path, help="a text file, a text on each line")
    add_setting(given, "--words", "lens.words", nargs="+", metavar="WORD", help="target words (lens.words)")
    given.add_argument("--measure", metavar="NAME", help="the heat maps' colour (rank): top_1, entropy, kl_to_final, "
                       "cross_entropy, emotion:LABEL, word:WORD")  # fmt: skip
    given.add_argument("--positions", type=int, metavar="N", help="how many of a text's last positions are drawn (28)")
    given.add_argument("--out", type=a_path, metavar="DIR", help="where readings, tables and figures go (lens/)")
    parser.set_defaults(run=_lens)


def _lens(arguments: argparse.Namespace) -> None:
    from emogap.errors import UsageError

    if arguments.models is None:
        for option in ("texts", "file", "words", "measure", "positions", "out"):
            if getattr(arguments, option) is not None:
                name = "text" if option == "texts" else option
                raise UsageError(f"--{name} goes with --model; name a model, or leave it out to read the study's")
        run_stage("lens", arguments)
        return
    from emogap.lens.text_lens import lens_of_texts

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
