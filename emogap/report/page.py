"""The report: one self-contained page that answers first, then shows the study in its order, a question a section.

It draws on what stages registered and counted, on the texts that they wrote, and on ``published.toml``; it measures
nothing.
"""

import json
import textwrap
from base64 import b64encode
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import Any

from emogap.config import Config, load_config
from emogap.home_settings import parent_of
from emogap.paths import Home
from emogap.published import PublishedTable, published
from emogap.report import comparison, facts, texts
from emogap.report.answer import answer
from emogap.report.comparison import Difference
from emogap.report.entries import (
    HERE,
    Cells,
    Entry,
    exhibit_file,
    exhibit_folders,
    home_entries,
    reader,
    render,
    to_cells,
)
from emogap.report.pair import report_pair
from emogap.report.study_order import PLACES, Place, place_of
from emogap.store.artefacts import Draft, Recipe, home_manifests, package_versions, sha256_text
from emogap.store.exhibits import CAPTIONS, exhibits
from emogap.store.pieces import Piece, Summary, run
from emogap.study.state import StageState, inspect_all

TEMPLATES = ("report.html.j2", "report_parts.html.j2", "report.js")
KINDS = ("data", "size", "method")
"""Kinds of difference to the published set-up, in the order in which they are said."""


@dataclass(frozen=True)
class PublishedCells:
    """A published table ready for the page."""

    table: PublishedTable
    cells: Cells


@dataclass(frozen=True)
class Filled:
    """A place of the study with what this run has for it."""

    place: Place
    state: str
    """``fresh``, ``stale``, ``incomplete`` or ``missing``; what has not run is shown as missing, never as zeros."""
    why: str
    entries: list[Entry]
    published: list[PublishedCells]
    comparison: Cells | None
    differs: dict[str, list[str]] = field(default_factory=dict)
    """Kind of difference to the published set-up (data, size, method) → names of settings."""
    deck: texts.Deck | None = None
    templates: list[tuple[str, str, str]] = field(default_factory=list)
    """(method or version, file, text) of prompts."""

    @property
    def open(self) -> list[Entry]:
        return [entry for entry in self.entries if self.place.is_open(entry.name)]

    @property
    def folded(self) -> list[Entry]:
        return [entry for entry in self.entries if not self.place.is_open(entry.name)]


def report_pieces(config: Config) -> list[Piece]:
    """The page, made from whatever is registered in the home."""
    inputs = {}
    for folder in exhibit_folders(config.home):
        if (folder / CAPTIONS).exists():
            inputs[config.home.relative(folder / CAPTIONS)] = folder / CAPTIONS
        for exhibit in exhibits(folder):
            file = exhibit_file(folder, exhibit)
            inputs[config.home.relative(file)] = file
    templates = "".join((HERE / name).read_text(encoding="utf-8") for name in TEMPLATES)
    identities = {"template": sha256_text(templates), "manifests": _manifests_sha(config.home)}
    recipe = Recipe("report", inputs, {"profile": config.profile}, identities, config.seed)
    return [Piece(config.home.report, recipe, make=partial(_make, config))]


def report(config: Config) -> Summary:
    """Write ``report/index.html``, and for a variant the page beside its parent. What has not run is shown as
    missing."""
    summary = run("report", report_pieces(config))
    parent = parent_of(config.home.root)
    if parent and home_manifests(config.home) and home_manifests(Home(parent)):
        print(f"beside its parent: {report_pair(config.home, Home(parent))}")
    return summary


def _make(config: Config, draft: Draft) -> None:
    states = [state for state in inspect_all(config) if state.stage.name != "report"]
    entries = home_entries(config.home)
    draft.path.write_text(_page(config, states, entries), encoding="utf-8")
    draft.counts["exhibits"] = len(entries)


def _page(config: Config, states: list[StageState], entries: list[Entry]) -> str:
    manifests = list(home_manifests(config.home).values())
    theirs = load_config(comparison.PUBLISHED_PROFILE, config.home.root)
    boxes, arrows = workflow(states)
    differences = comparison.differences(config)
    sizes = comparison.sizes(states)
    effect, *places = _places(config, states, entries, differences)
    script = (HERE / TEMPLATES[2]).read_text(encoding="utf-8")
    return render(
        TEMPLATES[0],
        config=config,
        script=script,
        script_sha=b64encode(sha256(script.encode()).digest()).decode(),
        colours=texts.colours(config),
        sentences=answer(config, reader(config.home)),
        in_one_line=facts.in_one_line(config, sizes, manifests),
        effect=effect,
        places=places,
        beyond=[entry for entry in entries if place_of(entry.name) is None],
        boxes=boxes,
        arrows=arrows,
        drawing={"WIDTH": WIDTH, "HEIGHT": HEIGHT, "BOX_WIDTH": BOX_WIDTH, "BOX_HEIGHT": BOX_HEIGHT},
        sizes=to_cells(sizes),
        difference_rows=[(d.kind, d.key, d.ours, d.theirs) for d in differences],
        models=facts.models(config, theirs, manifests),
        trained=[(s.name, s.parent, s.task, s.data, s.control_of) for s in config.strategies],
        data=facts.data(config, theirs),
        files=facts.read_from_outside(config.home),
        runs=[facts.stage_row(state) for state in states],
        empty=[(state.stage.name, line) for state in states for line in state.empty],
        commits=sorted({(m["git_commit"] or "outside git")[:12] for m in manifests}),
        packages=package_versions(),
        cost=PublishedCells(published("cost"), to_cells(published("cost").frame())),
    )


def _places(
    config: Config, states: list[StageState], entries: list[Entry], differences: list[Difference]
) -> list[Filled]:
    state_of = {state.stage.name: state for state in states}
    read, cards, prompts = reader(config.home), texts.decks(config), texts.templates(config)
    filled = []
    for place in PLACES:
        own = sorted((e for e in entries if place_of(e.name) is place), key=lambda e: place.rank(e.name))
        compared = comparison.compare(place, read)
        state = state_of[place.stages[0]]
        filled.append(
            Filled(
                place,
                _place_state(state, own),
                "; ".join(state.reasons),
                own,
                [PublishedCells(published(key), to_cells(published(key).frame())) for key in place.published],
                None if compared is None else to_cells(compared, comparison.view(place)),
                _differs(place, differences),
                cards.get(place.anchor),
                prompts.get(place.anchor, []),
            )
        )
    return filled


def _differs(place: Place, differences: list[Difference]) -> dict[str, list[str]]:
    kinds = {kind: [d.name for d in differences if d.kind == kind and d.name in place.shaped_by] for kind in KINDS}
    return {kind: list(dict.fromkeys(names)) for kind, names in kinds.items() if names}


def _place_state(state: StageState, own: list[Entry]) -> str:
    """``missing`` where there is nothing to show; ``incomplete`` where the stage has not come to its end."""
    if not own:
        return "missing"
    return "incomplete" if state.state == "missing" else state.state


def _manifests_sha(home: Home) -> str:
    return sha256_text(json.dumps(list(home_manifests(home).values()), sort_keys=True))


# --- the workflow as a drawing, laid out for the page's width; the template draws it ---------------------------------


WIDTH, BOX_WIDTH, BOX_HEIGHT = 940, 210, 74
LINE = 26
"""Characters that fit a box."""
_ROW, _COLUMN = 104, 240
_CELLS = {
    "process": (1, 0), "augment": (1, 1), "corpus": (1, 2), "babylm-stats": (0, 2), "rewrite": (2, 2), "clm": (1, 3),
    "sft": (2, 4), "alpaca-stats": (3, 3), "evaluate": (1, 5), "lens": (0, 5),
}  # fmt: skip
"""Stage → (column, row)."""
HEIGHT = _ROW * (1 + max(row for _, row in _CELLS.values()))


def workflow(states: list[StageState]) -> tuple[list[dict[str, Any]], list[dict[str, int]]]:
    """A box a stage, ``x`` and ``y`` its upper left corner, and arrows from the lower edge of one to the upper edge of
    another."""
    boxes = {}
    for state in states:
        column, row = _CELLS[state.stage.name]
        place = {"x": column * _COLUMN, "y": row * _ROW + 2, "lines": textwrap.wrap(state.stage.title, LINE)}
        boxes[state.stage.name] = {"name": state.stage.name, "state": state.state, **place}
    ends = [(boxes[before], boxes[state.stage.name]) for state in states for before in state.stage.after]
    half = BOX_WIDTH // 2
    arrows = [{"x1": a["x"] + half, "y1": a["y"] + BOX_HEIGHT, "x2": b["x"] + half, "y2": b["y"]} for a, b in ends]
    return list(boxes.values()), arrows
