"""Where a run stands: each stage missing, fresh or stale, judged by manifests alone; and which parts are empty.

A stage whose input is empty (no emotional line, nothing kept, nothing to train) makes what can be made, and the stages
after it go on without the rest. Each stage says so while it runs; this module says it for `status`, `run` and the
report.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogap.babylm.process import NO_LINE, nothing_emotional
from emogap.config import Config, Corpus
from emogap.errors import InputError, MissingInput
from emogap.home_settings import parent_of
from emogap.lens.stage import wanted_lens_models
from emogap.records import CORPUS, KEPT, REWRITES, STORIES, RowType, read_rows
from emogap.store.artefacts import Freshness, verify
from emogap.store.pieces import is_there, run
from emogap.stories.import_pickles import imported_above
from emogap.study.stages import STAGES, Stage, stage
from emogap.train.models import not_measured, wanted_models
from emogap.train.strategies import nothing_to_train


@dataclass(frozen=True)
class StageState:
    """The state of a stage: that of its worst artefact."""

    stage: Stage
    state: str
    """``fresh``, ``stale`` or ``missing``."""
    reasons: tuple[str, ...]
    manifests: tuple[dict[str, Any], ...]
    """Manifests of those artefacts that are there."""
    empty: tuple[str, ...] = ()
    """A line for each thing that is empty because there was nothing to make it from."""

    @property
    def counts(self) -> dict[str, int]:
        """What the stage counted, added up over its artefacts."""
        total = Counter()
        for manifest in self.manifests:
            total.update(manifest["counts"])
        return total

    @property
    def seconds(self) -> float:
        return sum(manifest["seconds"] for manifest in self.manifests)


def inspect(config: Config, chosen: Stage, stale_before: set[str] = frozenset()) -> StageState:
    """State of one stage. ``stale_before``: stages above it that must run again."""
    try:
        states = [(piece, piece.freshness()) for piece in chosen.pieces(config)]
    except InputError as error:  # a damaged file too: told as a state, so that the other stages are shown
        needs = "needs " if isinstance(error, MissingInput) else ""
        return StageState(chosen, "missing", (f"{needs}{error}",), ())
    made = [(piece, freshness) for piece, freshness in states if not piece.is_drawing]
    manifests = tuple(piece.manifest() for piece, freshness in made if freshness.state != "missing")
    state, reasons = _worst([freshness for piece, freshness in made if not piece.for_drawings])
    if state == "fresh" and stale_before:
        state, reasons = "stale", (f"{', '.join(sorted(stale_before))} will be made again",)
    if state == "fresh":
        state, reasons = _drawn([freshness for piece, freshness in states if piece.is_drawing or piece.for_drawings])
    return StageState(chosen, state, reasons, manifests, what_is_empty(config, chosen.name))


def _worst(states: list[Freshness]) -> tuple[str, tuple[str, ...]]:
    missing = sum(freshness.state == "missing" for freshness in states)
    if missing:
        return "missing", (f"{missing} of {len(states)} artefacts",)
    reasons = tuple(dict.fromkeys(reason for freshness in states for reason in freshness.reasons))
    return ("stale", reasons) if reasons else ("fresh", ())


def _drawn(states: list[Freshness]) -> tuple[str, tuple[str, ...]]:
    """The state of a stage whose artefacts are fresh: ``stale`` where its tables or figures are stale or missing."""
    state, reasons = _worst(states)
    return ("stale", ("its tables and figures are not drawn",)) if state == "missing" else (state, reasons)


def inspect_all(config: Config) -> list[StageState]:
    """All stages in order. A stage whose predecessors are stale is stale too, whatever its own files say."""
    states: list[StageState] = []
    for candidate in STAGES:
        depends = {s.stage.name for s in states if s.state == "stale" and s.stage.name in _ancestors(candidate.name)}
        states.append(inspect(config, candidate, depends))
    return states


def _ancestors(name: str) -> set[str]:
    found = set(stage(name).after)
    for parent in stage(name).after:
        found |= _ancestors(parent)
    return found


def take_over_before(config: Config, name: str) -> None:
    """In a variant, take what earlier stages make from its parent, where it has the same recipe, and draw it: any stage
    can be the first that runs in a variant. Imported stories, which no stage makes, are taken too."""
    if parent_of(config.home.root) is None:
        return
    for piece in imported_above(config):
        with suppress(InputError):
            is_there(piece)
    for earlier in (candidate for candidate in STAGES if candidate.name in _ancestors(name)):
        is_whole = True
        with suppress(InputError):  # missing or damaged: said by the stage that reads it, and by the status
            for piece in earlier.pieces(config):
                if not piece.is_drawing:
                    is_whole &= is_there(piece)
                elif is_whole:
                    run(earlier.name, [piece])


def made_otherwise(config: Config, name: str) -> list[str]:
    """A line for each stage that this one reads from and that was made with other settings or inputs than now."""
    read_from = [inspect(config, stage(before)) for before in stage(name).after]
    return [
        f"{name} reads what {state.stage.name} made under other settings: {'; '.join(state.reasons)}"
        for state in read_from
        if state.state == "stale"
    ]


def whats_next(config: Config, name: str) -> list[str]:
    """Lines on what is to be done after a stage: which later stages are stale and why, and what comes next."""
    behind = [state for state in inspect_all(config) if name in _ancestors(state.stage.name)]
    stale = [f"{state.stage.name} ({_few(state.reasons)})" for state in behind if state.state == "stale"]
    lines = [f"stale now: {', '.join(stale)}"] if stale else []
    todo = next((state.stage for state in behind if state.state != "fresh"), None)
    if todo is None:
        return ["all that is made from it is fresh"]
    return [*lines, f"next: {todo.source or f'emogap {todo.name}'} ({todo.title})"]


def _few(reasons: Sequence[str]) -> str:
    """The first two reasons, and how many more there are."""
    more = f"; {len(reasons) - 2} more" if len(reasons) > 2 else ""
    return "; ".join(reasons[:2]) + more


def verify_all(config: Config) -> int:
    """Hash every artefact of the home again; return their number. Raises ``InputError`` at the first that differs."""
    suffix = ".manifest.json"
    manifests = [m for m in config.home.root.rglob(f"*{suffix}") if not m.name.startswith(".")]
    for manifest in manifests:
        verify(manifest.with_name(manifest.name.removesuffix(suffix)))
    return len(manifests)


# --- what is empty ---------------------------------------------------------------------------------------------------


def what_is_empty(config: Config, stage: str) -> tuple[str, ...]:
    """A line for each output of a stage, or input that it was to make something from, that holds nothing."""
    try:
        return tuple(_OF_STAGE[stage](config)) if stage in _OF_STAGE else ()
    except InputError:  # a damaged file: whoever reads it says so
        return ()


def _stories(config: Config) -> list[str]:
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


def _corpora(config: Config) -> list[str]:
    made = [own for own in config.all_corpora if config.home.corpus(own.name).exists()]
    return [line for own in made for line in _corpus(config, own)]


def _corpus(config: Config, own: Corpus) -> list[str]:
    kinds = read_rows(config.home.corpus(own.name), CORPUS, ["kind"])["kind"]
    if kinds.empty:
        return [f"nothing to compile: the corpus {own.name} has no document"]
    has_what_it_wants = kinds.eq("story").any() or not own.methods or own.lines
    return [] if has_what_it_wants else [f"the corpus {own.name} has no story"]


_OF_STAGE: Mapping[str, Callable[[Config], list[str]]] = {
    "process": lambda config: [NO_LINE] if nothing_emotional(config) else [],
    "augment": _stories,
    "corpus": _corpora,
    "rewrite": _rewrites,
    "clm": lambda config: nothing_to_train(config, "clm"),
    "sft": lambda config: nothing_to_train(config, "sft"),
    "evaluate": lambda config: not_measured(config, wanted_models(config)),
    "lens": lambda config: not_measured(config, wanted_lens_models(config)),
    "babylm-stats": _stories,
    "alpaca-stats": _rewrites,
}
