"""The command line: ``emogap <command>``. Exit codes: 0 done; 2 bad usage or settings; 1 anything else."""

import argparse
import sys
from importlib import import_module

from emogap import __version__
from emogap.commands import Parser
from emogap.errors import EmogapError

TOPICS = ("study", "data", "generate", "train", "evaluate", "grammar", "lens", "stats", "report", "scale", "bench")
"""Modules of ``emogap.commands``, in the order of ``emogap --help``."""


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="emogap",
        description="Emotional stories for small language models: write them, fine-tune on them, measure what changed.",
        epilog="Begin with `emogap run` (the whole study, embedded profile) and `emogap status`.",
    )
    parser.add_argument("--version", action="version", version=f"emogap {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for topic in TOPICS:
        import_module(f"emogap.commands.{topic}").register(commands)
    return parser


def main(words: list[str] | None = None) -> int:
    """Run one command; the exit code. An error is one line on stderr."""
    words = sys.argv[1:] if words is None else words
    # --debug is taken wherever it stands, before or after the command.
    debug = "--debug" in words
    arguments = build_parser().parse_args([word for word in words if word != "--debug"])
    try:
        arguments.run(arguments)
    except EmogapError as error:
        if debug:
            raise
        print(f"emogap: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if debug:
            raise
        print(f"emogap: {error.filename or 'file system'}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("emogap: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
