"""Runs the study: every stage's notebook or script itself, in order, headless; skips what is fresh."""

import json
import logging
import os
import runpy
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emogap import errors
from emogap.config import Config
from emogap.errors import EmogapError
from emogap.lens.stage import wanted_lens_models
from emogap.lm.hub import check_name
from emogap.paths import ROOT, cache_dir
from emogap.store.artefacts import content_hashes, write_text
from emogap.store.progress import PROGRESS_FILE, clock
from emogap.study.stages import STAGES, Stage, stage
from emogap.study.state import inspect, what_is_empty
from emogap.train.models import wanted_models
from emogap.train.strategies import check_data


def select(first: str | None, last: str | None, only: str | None) -> list[Stage]:
    """The stages from one to another, both included. Raises ``UsageError`` for an unknown name or an empty range."""
    if only is not None:
        if first is not None or last is not None:
            raise errors.UsageError("--only stands alone; leave out --from and --to")
        return [stage(only)]
    names = [s.name for s in STAGES]
    start = names.index(stage(first).name) if first else 0
    stop = names.index(stage(last).name) if last else len(names) - 1
    if start > stop:
        raise errors.UsageError(f"--from {first} comes after --to {last}; the order is {', '.join(names)}")
    return list(STAGES[start : stop + 1])


def run_stages(config: Config, stages: list[Stage], settings: list[str]) -> None:
    """Run the given stages in order. ``settings`` are the overrides, handed on to notebooks and scripts as they are."""
    _check_names(config, {chosen.name for chosen in stages})
    started = time.monotonic()
    for number, chosen in enumerate(stages, start=1):
        head = f"[{number}/{len(stages)}] {chosen.name}"
        state = inspect(config, chosen)
        if state.state == "fresh" and _is_executed(config, chosen):
            print(f"{head}: fresh", flush=True)
            _say_empty(config, chosen, head)
            continue
        why = f" ({'; '.join(state.reasons)})" if state.state == "stale" else ""
        print(f"{head}: {chosen.title}{why}", flush=True)
        begun = time.monotonic()
        with _watched(head):
            _execute(config, chosen, settings)
        print(f"{head}: done in {clock(time.monotonic() - begun)}", flush=True)
        _say_empty(config, chosen, head)
    print(f"{len(stages)} stages in {clock(time.monotonic() - started)}; {config.home.root}", flush=True)


def _check_names(config: Config, stages: set[str]) -> None:
    """What the settings name and only a late stage reads is said before the first. Raises ``InputError``,
    ``ModelError`` or ``UsageError``."""
    trained = [task for task in ("clm", "sft") if task in stages]
    for task in trained:
        check_data(config, task)
    for base in config.bases.values() if trained else ():
        check_name(base)
    if "lens" in stages:
        wanted_lens_models(config)
    if "evaluate" in stages:
        wanted_models(config)


def _say_empty(config: Config, chosen: Stage, head: str) -> None:
    for line in what_is_empty(config, chosen.name):
        print(f"{head}: {line}", flush=True)


def _execute(config: Config, chosen: Stage, settings: list[str]) -> None:
    if chosen.source is None:
        print(chosen.run(config))
    elif chosen.source.endswith(".ipynb"):
        _execute_notebook(config, chosen, settings)
    else:
        _execute_script(config, chosen, settings)


def _execute_script(config: Config, chosen: Stage, settings: list[str]) -> None:
    """Run a script in this process, so that killing the run kills the work."""
    words = ["--profile", config.source, "--home", str(config.home.root)]
    words += [word for setting in settings for word in ("--set", setting)]
    before = sys.argv
    sys.argv = [chosen.source, *words]
    try:
        runpy.run_path(str(ROOT / chosen.source), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise EmogapError(f"{chosen.source} ended with exit code {end.code}; its message stands above") from end
    finally:
        sys.argv = before


def _execute_notebook(config: Config, chosen: Stage, settings: list[str]) -> None:
    import papermill
    from jupyter_client.manager import AsyncKernelManager
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    source, copy = ROOT / chosen.source, _copy(config, chosen)
    # Papermill warns of every parameter whose line it cannot parse, though it sets them all the same.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    parameters = {"PROFILE": config.source, "HOME": str(config.home.root), "SETTINGS": settings}
    # In a folder of its own: another run may execute the notebook for this home at the same time.
    with tempfile.TemporaryDirectory(prefix="emogap-") as folder, _at_home(folder):
        executed = Path(folder) / copy.name

        class LocalKernelManager(AsyncKernelManager):
            """Talks to the kernel through files of this user, not through open ports."""

            transport = "ipc"
            ip = str(Path(folder) / "kernel")  # the beginning of their names; else they lie beside the notebook

        try:
            papermill.execute_notebook(
                _literal(source),
                _literal(executed),
                parameters,
                cwd=source.parent,
                kernel_name="python3",
                progress_bar=False,
                kernel_manager_class=LocalKernelManager,
                # A kernel's own log speaks of being shut down; what goes wrong in a cell comes back in the notebook.
                extra_arguments=["--log-level=CRITICAL"],
            )
        except PapermillExecutionError as failure:
            failed = copy.with_suffix(".failed.ipynb")
            write_text(failed, executed.read_text(encoding="utf-8"))
            raise _as_own_error(failure, chosen, failed) from failure
        except DeadKernelError as death:
            raise EmogapError(
                f"the kernel of {chosen.source} died: it was killed, perhaps for lack of memory; what is finished is "
                "kept, the same command goes on from there"
            ) from death
        write_text(copy, _stamped(executed, source))
    copy.with_suffix(".failed.ipynb").unlink(missing_ok=True)


@contextmanager
def _at_home(folder: str) -> Iterator[None]:
    """Jupyter writes into the user's home directory; where there is none, ``folder`` is that within the block."""
    if os.path.isabs(os.path.expanduser("~")):
        yield
        return
    before = dict(os.environ)
    os.environ |= {"EMOGAP_CACHE": str(cache_dir()), "HOME": folder}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _literal(path: Path) -> str:
    """A path for papermill with its braces doubled, since papermill fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _as_own_error(failure: Exception, chosen: Stage, copy: Path) -> EmogapError:
    """An error raised inside a notebook keeps its class, and so its exit code; anything else names the cell."""
    own = getattr(errors, failure.ename, None)
    if isinstance(own, type) and issubclass(own, EmogapError):
        return own(f"{chosen.source}: {failure.evalue}")
    said = " ".join(failure.evalue.split())
    return EmogapError(f"{chosen.source} failed in cell {failure.exec_count}: {failure.ename}: {said}; see {copy}")


def _copy(config: Config, chosen: Stage) -> Path:
    return config.home.notebooks / Path(chosen.source).name


def _stamped(notebook: Path, source: Path) -> str:
    """The text of an executed copy, with the hash of the notebook that it is a copy of in its metadata."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["metadata"]["emogap"] = {"source_sha256": content_hashes(source)[""]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _is_executed(config: Config, chosen: Stage) -> bool:
    """Whether the notebook as it stands now has been executed. True of a script, which leaves only its artefacts."""
    if chosen.source is None or not chosen.source.endswith(".ipynb"):
        return True
    copy = _copy(config, chosen)
    if not copy.exists():
        return False
    try:
        stamp = json.loads(copy.read_text(encoding="utf-8"))["metadata"].get("emogap", {})
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: executed again
        return False
    return stamp.get("source_sha256") == content_hashes(ROOT / chosen.source)[""]


@contextmanager
def _watched(head: str) -> Iterator[None]:
    """Show the progress of work that goes on out of sight, in a notebook's kernel."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "progress.json"
        os.environ[PROGRESS_FILE] = str(file)
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(head, file, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            del os.environ[PROGRESS_FILE]


def _watch(head: str, file: Path, ended: threading.Event) -> None:
    """A line rewritten every half second on a terminal; elsewhere a line of its own every ten seconds at most."""
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"  # dumb: no control sequences
    shown, last = "", time.monotonic()
    while not ended.wait(0.5):
        line = f"{head}: {_describe(file)}"
        if line == shown or (not terminal and time.monotonic() - last < 10):
            continue
        print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)
        shown, last = line, time.monotonic()
    if terminal:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _describe(file: Path) -> str:
    if not file.exists():
        return "starting"
    state = json.loads(file.read_text(encoding="utf-8"))
    left = f", {clock(state['seconds_left'])} left" if state["seconds_left"] is not None else ""
    return f"{state['label']} {state['done']}/{state['total']} {state['unit']}{left}"
