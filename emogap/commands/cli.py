"""The command line: ``emogap <command>``. Exit codes: 0 done; 2 bad usage or settings; 1 anything else."""

import argparse
import os
import select
import sys
from importlib import import_module

from emogap import __version__
from emogap.commands import Parser
from emogap.errors import EmogapError, UsageError
from emogap.paths import given_path, is_utf8

TOPICS = ("study", "data", "generate", "evaluate", "tools")
"""Modules of ``emogap.commands``, in the order of ``emogap --help``."""
GONE = {
    "push": "hf upload OWNER/NAME HOME/models/MODEL --private",
    "review": "verdicts by hand are no longer read; change the gates (augment.gates, rewrite.gates) or the prompt",
    "prompts": "write a file like data/sample/emotion_prompts.json for respond.prompts, or seed_rewrites.json for "
    "rewrite.seeds",
}
"""Removed command → what to do instead."""


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
    """Run one command and return the exit code. An error is one line on stderr."""
    _settle_streams()
    try:
        code = _run(sys.argv[1:] if words is None else words)
    finally:
        written = _flush()
    return code if written else code or 1


def _run(words: list[str]) -> int:
    # --debug is taken wherever it stands, before or after the command.
    debug = "--debug" in words
    try:
        _settle_environment()
        _check_words(words)
        _check_gone(words)
        arguments = build_parser().parse_args([word for word in words if word != "--debug"])
        arguments.run(arguments)
    except EmogapError as error:
        if debug:
            raise
        _say(error)
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 1
        if debug:
            raise
        _say(f"{error.filename or 'file system'}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        _say("stopped; what is finished is kept, the same command goes on from there")
        return 130
    return 0


def _say(message: object) -> None:
    """A line on stderr; a name in it may hold line breaks of its own."""
    print("emogap:", str(message).replace("\r", "\\r").replace("\n", "\\n"), file=sys.stderr)


def _settle_streams() -> None:
    """Characters that a terminal cannot show are written as escapes; a closed stream is replaced by an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _settle_environment() -> None:
    """Make the project's folders in the environment absolute, since notebooks run in another working directory; unset
    those of the system that are not absolute, so that libraries do not take them either."""
    for name in ("EMOGAP_HOME", "EMOGAP_CACHE"):
        if os.environ.get(name):
            os.environ[name] = str(given_path(os.environ[name]))
    for name in ("XDG_CACHE_HOME", "HOME"):
        if not os.path.isabs(os.environ.get(name, "/")):
            del os.environ[name]


def _check_words(words: list[str]) -> None:
    for word in words:
        if not is_utf8(word):
            raise UsageError(f"{word!r} on the command line is no UTF-8, or this locale is not; set PYTHONUTF8=1")


def _check_gone(words: list[str]) -> None:
    command = next((word for word in words if not word.startswith("-")), "")
    if command in GONE:
        raise UsageError(f"{command} is gone: {GONE[command]}")


def _nobody_reads() -> bool:
    """Whether the program that read stdout has gone, as ``head`` does when it has enough."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _flush() -> bool:
    """Whether everything printed was written. If not, the rest is discarded: at exit Python would try it once more."""
    try:
        sys.stdout.flush()
        return True
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # who reads no more need not be told
            _say(f"the output cannot be written ({error.strerror})")
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return False


if __name__ == "__main__":
    sys.exit(main())
