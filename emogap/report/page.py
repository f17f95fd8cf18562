"""The report: one self-contained page with the answer first, then the study in its order, one question per section.

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

import pandas as pd

from emogap.config import Config, load_config
from emogap.fetch.registry import DATA_SETS
from emogap.home_settings import parent_of
from emogap.paths import Home, from_root
from emogap.published import published
from emogap.report import comparison, texts
from emogap.report.answer import answer
from emogap.report.comparison import Difference
from emogap.report.entries import (
    HERE,
    Cells,
    Entry,
    exhibit_folders,
    home_entries,
    reader,
    render,
    to_cells,
)
from emogap.report.pair import report_pair
from emogap.report.study_order import PLACES, Place, place_of
from emogap.store.artefacts import (
    Draft,
    Recipe,
    home_manifests,
    package_versions,
    read_from_outside,
    sha256_text,
)
from emogap.store.exhibits import CAPTIONS, exhibits
from emogap.store.pieces import Piece, Summary, run
from emogap.study.state import StageState, inspect_all
from emogap.train.models import study_models
from emogap.train.strategies import is_file_of_records

TEMPLATES = ("report.html.j2", "report_parts.html.j2", "report.js")
KINDS = ("data", "size", "method")
"""Kinds of difference to the published set-up, in the order in which they are listed."""


@dataclass(frozen=True)
class Filled:
    """A place of the study with what this run has for it."""

    place: Place
    state: str
    """``fresh``, ``stale``, ``incomplete`` or ``missing``; what has not run is shown as missing, never as zeros."""
    why: str
    entries: list[Entry]
    published: list[dict[str, Any]]
    """For each published table: the table itself (``table``) and its ``cells``."""
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
        for file in [exhibit.file(folder) for exhibit in exhibits(folder)]:
            inputs[config.home.relative(file)] = file
    templates = "".join((HERE / name).read_text(encoding="utf-8") for name in TEMPLATES)
    identities = {"template": sha256_text(templates), "manifests": _manifests_sha(config.home)}
    recipe = Recipe("report", inputs, {"profile": config.profile}, identities, config.seed)
    return [Piece(config.home.report, recipe, make=partial(_make, config))]


def report(config: Config) -> Summary:
    """Write ``report/index.html``, and for a variant the page that compares it with its parent. What has not run is
    shown as missing."""
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
        in_one_line=_in_one_line(config, sizes, manifests),
        effect=effect,
        places=places,
        beyond=[entry for entry in entries if place_of(entry.name) is None],
        boxes=boxes,
        arrows=arrows,
        drawing={"WIDTH": WIDTH, "HEIGHT": HEIGHT, "BOX_WIDTH": BOX_WIDTH, "BOX_HEIGHT": BOX_HEIGHT},
        sizes=to_cells(sizes),
        difference_rows=[(d.kind, d.key, d.ours, d.theirs) for d in differences],
        models=_models(config, theirs, manifests),
        trained=[(s.name, s.parent, s.task, s.data, s.control_of) for s in config.strategies],
        data=_read_data(config, theirs),
        files=read_from_outside(config.home),
        runs=[_stage_row(state) for state in states],
        empty=[(state.stage.name, line) for state in states for line in state.empty],
        commits=sorted({(m["git_commit"] or "outside git")[:12] for m in manifests}),
        packages=package_versions(),
        cost=_published("cost"),
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
                [_published(key) for key in place.published],
                None if compared is None else to_cells(compared, comparison.view(place)),
                _differs(place, differences),
                cards.get(place.anchor),
                prompts.get(place.anchor, []),
            )
        )
    return filled


def _published(key: str) -> dict[str, Any]:
    table = published(key)
    return {"table": table, "cells": to_cells(table.frame())}


def _differs(place: Place, differences: list[Difference]) -> dict[str, list[str]]:
    kinds = {kind: [d.name for d in differences if d.kind == kind and d.name in place.shaped_by] for kind in KINDS}
    return {kind: list(dict.fromkeys(names)) for kind, names in kinds.items() if names}


def _place_state(state: StageState, own: list[Entry]) -> str:
    """``missing`` where there is nothing to show; ``incomplete`` where the stage has not been finished."""
    if not own:
        return "missing"
    return "incomplete" if state.state == "missing" else state.state


def _manifests_sha(home: Home) -> str:
    return sha256_text(json.dumps(list(home_manifests(home).values()), sort_keys=True))


# --- the workflow as a drawing, laid out for the page's width; the template draws it ---------------------------------


WIDTH, BOX_WIDTH, BOX_HEIGHT = 940, 210, 74
LINE = 26
"""Characters that fit a line of a box."""
_ROW, _COLUMN = 104, 240
_CELLS = {
    "process": (1, 0), "augment": (1, 1), "corpus": (1, 2), "babylm-stats": (0, 2), "rewrite": (2, 2), "clm": (1, 3),
    "sft": (2, 4), "alpaca-stats": (3, 3), "evaluate": (1, 5), "lens": (0, 5),
}  # fmt: skip
"""Stage → (column, row)."""
HEIGHT = _ROW * (1 + max(row for _, row in _CELLS.values()))


def workflow(states: list[StageState]) -> tuple[list[dict[str, Any]], list[dict[str, int]]]:
    """One box per stage (``x`` and ``y``: its upper left corner), and arrows from the lower edge of one box to the
    upper edge of another."""
    boxes = {}
    for state in states:
        column, row = _CELLS[state.stage.name]
        place = {"x": column * _COLUMN, "y": row * _ROW + 2, "lines": textwrap.wrap(state.stage.title, LINE)}
        boxes[state.stage.name] = {"name": state.stage.name, "state": state.state, **place}
    ends = [(boxes[before], boxes[state.stage.name]) for state in states for before in state.stage.after]
    half = BOX_WIDTH // 2
    arrows = [{"x1": a["x"] + half, "y1": a["y"] + BOX_HEIGHT, "x2": b["x"] + half, "y2": b["y"]} for a, b in ends]
    return list(boxes.values()), arrows


# --- what was run, according to a home's manifests and settings (Table 1 of the study) --------------------------------


def _stage_row(state: StageState) -> tuple[str, ...]:
    """Stage, state, counts, seconds of work, when it was begun."""
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in state.counts.items())
    started = _readable_time(min((m["started"] for m in state.manifests), default="–"))
    seconds = f"{state.seconds:,.0f} s" if state.manifests else "–"
    said = counts or "; ".join(state.empty) or "has not run"
    return state.stage.name, state.state, said, seconds, started


def _readable_time(stamp: str) -> str:
    """A manifest's time (ISO 8601, UTC) as people read it."""
    return stamp.replace("T", " ").removesuffix("+00:00")


def _in_one_line(config: Config, sizes: pd.DataFrame, manifests: list[dict[str, Any]]) -> str:
    """What was run: profile, models, texts, device, time."""
    known = sizes.dropna(subset="this run")
    texts = ", ".join(f"{count:,} {what}" for what, count in zip(known[""], known["this run"], strict=True))
    bases = ", ".join(model.name for model in config.bases.values())
    measured = f"{len({model.name for model in study_models(config)})} models from {bases}"
    machines = "; ".join(sorted({manifest.get("machine", "a machine not recorded") for manifest in manifests}))
    took = f"{sum(manifest['seconds'] for manifest in manifests) / 60:,.0f} minutes of work on {machines}"
    begun = _readable_time(min((manifest["started"] for manifest in manifests), default=""))[:10]
    parts = [f"Profile {config.profile}, seed {config.seed}", measured, texts, *([took, begun] if manifests else [])]
    return " · ".join(part for part in parts if part)


def _models(config: Config, theirs: Config, manifests: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(role, model, revision or hash, model of the published set-up).

    The revision is what was resolved when the model was used; of one not used yet, what the settings say.
    """
    identities = {identity for manifest in manifests for identity in manifest["identities"].values()}

    def revision(name: str, named: str) -> str:
        found = [identity.rpartition("@")[2] for identity in identities if identity.startswith(f"{name}@")]
        return found[0] if found else named

    their_bases = ", ".join(model.name for model in theirs.bases.values())
    their_classifier = theirs.process.classifier.name
    named = [
        *(("base", model, their_bases) for model in config.bases.values()),
        ("writer", config.writer.model, theirs.writer.model.name),
        ("classifier of the lines", config.process.classifier, their_classifier),
        *(("judge of the answers", judge, their_classifier) for judge in config.sentiment.classifiers),
    ]
    return [(role, model.name, revision(model.name, model.revision), published) for role, model, published in named]


def _read_data(config: Config, theirs: Config) -> list[tuple[str, str, str]]:
    """(role, where it is read from, data of the published set-up)."""
    published = _data_paths(theirs)
    return [
        (role, ", ".join(paths), ", ".join(dict.fromkeys(map(_data_title, published[role]))))
        for role, paths in _data_paths(config).items()
    ]


def _data_paths(config: Config) -> dict[str, list[str]]:
    own = dict.fromkeys(strategy.data for strategy in config.strategies if is_file_of_records(strategy))
    return {
        "text": config.process.raw_dirs,
        "factual text": config.corpus.factual,
        "instructions and answers": [config.rewrite.records, *own],
        "prompts": [config.respond.prompts],
        "minimal pairs": [config.blimp.data, *config.babylm.data],
    }


def _data_title(path: str) -> str:
    """What the registry calls the data set that a path under ``data/raw/`` belongs to."""
    found = [known.title for known in DATA_SETS.values() if from_root(path).is_relative_to(known.destination)]
    return found[0] if found else path
