"""Two runs on one page: which settings differ and what changed, then each table and figure beside the other run's."""

from dataclasses import dataclass

from emogap.errors import MissingInput
from emogap.paths import Home
from emogap.report.entries import PART_CHARACTERS, Entry, home_entries, render
from emogap.report.facts import read_from_outside
from emogap.report.study_order import PLACES, place_of
from emogap.store.artefacts import home_manifests, write_text
from emogap.store.views import MISSING
from emogap.text.statistics import what_is_drawn

TEMPLATE = "report_pair.html.j2"
SETTINGS_SHOWN, VALUE_SHOWN = 4, 60
"""Settings that differ, and characters of a value, that stand on the first screen above what changed; all are folded
below."""


@dataclass(frozen=True)
class Pair:
    """An exhibit of one run and the other's of the same name; None where a run has none."""

    name: str
    first: Entry | None
    second: Entry | None

    @property
    def is_same(self) -> bool:
        """Whether both runs show the very same."""
        shown = [entry and (entry.exhibit, entry.cells, entry.image) for entry in (self.first, self.second)]
        return shown[0] == shown[1]

    @property
    def is_stacked(self) -> bool:
        """Whether the two stand below each other: tables that do not fit side by side."""
        tables = [entry.cells for entry in (self.first, self.second) if entry and entry.cells]
        return any(cells.characters > PART_CHARACTERS // 2 for cells in tables)


def report_pair(first: Home, second: Home) -> str:
    """Write ``report/beside-<second>.html`` in the first home, what changed as ``.csv`` beside it; the page's path.

    Raises ``MissingInput`` for an empty home.
    """
    from emogap.report import run_changes
    from emogap.report.entries import to_cells

    homes = (first, second)
    for home in homes:
        if not home_manifests(home):
            raise MissingInput(f"nothing has been run in {home.root}; name the homes of two runs")
    names = _names(homes)
    changes, reasons = run_changes.changes(homes, names)
    settings = _differing(*map(_settings, homes))
    path = first.report.with_name(f"beside-{second.root.name}.html")
    write_text(path.with_suffix(".csv"), changes.to_csv(index=False))
    page = render(
        TEMPLATE,
        answer=run_changes.said(changes, names),
        changes=None if changes.empty else to_cells(run_changes.shown(changes), run_changes.VIEW),
        marks=[(mark, text) for text, mark in run_changes.MARKS.items() if mark and text in set(changes["verdict"])],
        drawn="" if changes.empty else what_is_drawn(changes["seeds"].max()),
        reasons=reasons,
        csv=path.with_suffix(".csv").name,
        shown=_shortened(settings),
        names=names,
        homes=[str(home.root) for home in homes],
        settings=settings,
        work=_differing(*map(_work, homes)),
        sections=_sections(_pairs(home_entries(first), home_entries(second))),
    )
    write_text(path, page)
    return str(path)


def _names(homes: tuple[Home, Home]) -> list[str]:
    """The folders' names; where they are the same, as many folders above as tell them apart."""
    depth = 1
    while homes[0].root.parts[-depth:] == homes[1].root.parts[-depth:] and depth < len(homes[0].root.parts):
        depth += 1
    return ["/".join(home.root.parts[-depth:]) for home in homes]


def _settings(home: Home) -> dict[str, set[str]]:
    """Setting, seed, model, prompt or file → the values that shaped artefacts of a home."""
    found: dict[str, set[str]] = {}
    for manifest in home_manifests(home).values():
        shaping = manifest["settings"] | manifest["identities"] | {"seed": manifest["seed"]}
        for key, value in shaping.items():
            found.setdefault(key, set()).add(str(value))
    return found | {f"file {path}": {f"sha256 {beginning}"} for path, beginning in read_from_outside(home)}


def _work(home: Home) -> dict[str, set[str]]:
    """What was counted, stage by stage, and on what it ran."""
    counts: dict[str, int] = {}
    found: dict[str, set[str]] = {}
    for manifest in home_manifests(home).values():
        for name, value in manifest["counts"].items():
            key = f"{manifest['stage']}: {name}"
            counts[key] = counts.get(key, 0) + value
        found.setdefault("code", set()).add((manifest["git_commit"] or "outside git")[:12])
        found.setdefault("machine", set()).add(manifest.get("machine", "not recorded"))
        for package, version in manifest["packages"].items():
            found.setdefault(package, set()).add(version)
    return found | {key: {f"{value:,}"} for key, value in counts.items()}


def _differing(first: dict[str, set[str]], second: dict[str, set[str]]) -> list[tuple[str, str, str]]:
    """(key, first's values, second's) where they are not the same; a dash where a run does not have it."""
    return [
        (key, *(", ".join(sorted(values[key])) if key in values else MISSING for values in (first, second)))
        for key in sorted(first.keys() | second.keys())
        if first.get(key) != second.get(key)
    ]


def _shortened(settings: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """The first of them, those that both runs have before others; long values cut."""
    rows = sorted(settings, key=lambda row: MISSING in row)[:SETTINGS_SHOWN]
    return [tuple(cell if len(cell) <= VALUE_SHOWN else f"{cell[:VALUE_SHOWN]}…" for cell in row) for row in rows]


def _pairs(first: list[Entry], second: list[Entry]) -> list[Pair]:
    ours, theirs = ({entry.name: entry for entry in entries} for entries in (first, second))
    return [Pair(name, ours.get(name), theirs.get(name)) for name in dict.fromkeys([*ours, *theirs])]


def _sections(pairs: list[Pair]) -> list[tuple[str, str, list[Pair]]]:
    """(anchor, title, pairs) in the study's order, and last what goes beyond it."""
    sections = []
    for place in PLACES:
        own = sorted((pair for pair in pairs if place_of(pair.name) is place), key=lambda pair: place.rank(pair.name))
        sections.append((place.anchor, place.title, own))
    rest = [pair for pair in pairs if place_of(pair.name) is None]
    return [section for section in [*sections, ("beyond", "Beyond the study", rest)] if section[2]]
