"""What of a study is there and empty: nothing emotional, nothing kept, nothing to train. Told from files alone.

A stage whose input is empty makes what can be made, and the stages behind it go on without the rest. What that is, is
said by each stage while it runs, and from here by status, run and report.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from emogap.config import Config
from emogap.errors import InputError
from emogap.records import CORPUS, KEPT, REWRITES, STORIES, RowType, read_rows


def what_is_empty(config: Config, stage: str) -> tuple[str, ...]:
    """A line for each thing that a stage was to make, or to make something of, and that holds nothing."""
    try:
        return tuple(_OF_STAGE[stage](config)) if stage in _OF_STAGE else ()
    except InputError:  # a damaged file: whoever reads it says so
        return ()


def _process(config: Config) -> list[str]:
    from emogap.data.babylm import NO_LINE, nothing_emotional

    return [NO_LINE] if nothing_emotional(config) else []


def _stories(config: Config) -> list[str]:
    from emogap.data.babylm import NO_LINE, nothing_emotional

    if nothing_emotional(config):
        return [f"nothing to write about: {NO_LINE}"]
    return _none_kept(STORIES, {m: config.home.chunks(m).values() for m in config.augment.methods})


def _rewrites(config: Config) -> list[str]:
    files = {version: config.home.rewrite_rows(version) for version in config.rewrite.versions}
    return _none_kept(REWRITES, {version: [file] for version, file in files.items() if file.exists()})


def _none_kept(row_type: RowType, files: Mapping[str, Iterable[Path]]) -> list[str]:
    """A line for each method or version whose files have rows, none of which was kept."""
    lines = []
    for name, paths in files.items():
        statuses = [read_rows(path, row_type, ["status"])["status"] for path in paths]
        rows = sum(map(len, statuses))
        if rows and not any(of_file.eq(KEPT).any() for of_file in statuses):
            lines.append(f"none of the {rows:,} {row_type.name} of {name} was kept")
    return lines


def _corpus(config: Config) -> list[str]:
    path = config.home.corpus(config.corpus.name)
    if not path.exists():
        return []
    kinds = read_rows(path, CORPUS, ["kind"])["kind"]
    if kinds.empty:
        return [f"nothing to compile: the corpus {config.corpus.name} has no document"]
    has_what_it_wants = kinds.eq("story").any() or not config.corpus.methods
    return [] if has_what_it_wants else [f"the corpus {config.corpus.name} has no story"]


def _clm(config: Config) -> list[str]:
    from emogap.train.strategies import nothing_to_train

    return nothing_to_train(config, "clm")


def _sft(config: Config) -> list[str]:
    from emogap.train.strategies import nothing_to_train

    return nothing_to_train(config, "sft")


def _evaluate(config: Config) -> list[str]:
    from emogap.evaluate.models import not_measured, wanted_models

    return not_measured(config, wanted_models(config))


def _lens(config: Config) -> list[str]:
    from emogap.evaluate.lens import wanted_lens_models
    from emogap.evaluate.models import not_measured

    return not_measured(config, wanted_lens_models(config))


_OF_STAGE: Mapping[str, Callable[[Config], list[str]]] = {
    "process": _process,
    "augment": _stories,
    "corpus": _corpus,
    "rewrite": _rewrites,
    "clm": _clm,
    "sft": _sft,
    "evaluate": _evaluate,
    "lens": _lens,
    "babylm-stats": _stories,
    "alpaca-stats": _rewrites,
}
