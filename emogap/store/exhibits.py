"""The registry of tables and figures: whatever a stage registers here, the report shows.

A stage's folder holds ``tables/<name>.csv`` with ``<name>.tex`` beside, ``figures/<name>.png`` with ``<name>.pdf``, and
``captions.json``, which gives every one of them a caption, a place in the report, and, where there is one, the
published table or figure that it stands beside.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union

import pandas as pd

from emogap.errors import InputError, MissingInput
from emogap.store.artefacts import Draft, Freshness, Recipe, write_json, write_text
from emogap.store.latex import to_latex
from emogap.store.locks import lock
from emogap.store.pieces import Piece
from emogap.store.views import View, cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = "captions.json"
NAMES = frozenset(
    {
        "against", "asked", "base", "basis", "choice", "comparison", "condition", "data", "dimension", "emotion",
        "factor", "found", "group",
        "input", "instruction", "judge", "level", "line", "measure", "method", "minus", "model", "name", "opening",
        "original answer", "outcome", "paradigm", "parent", "phenomenon", "preset", "prompt_id", "quantity", "rater",
        "reason", "reply", "row", "second", "setting", "source", "target", "task", "template", "token", "unit",
        "verdict", "version", "way", "word",
    }
)  # fmt: skip
"""Columns of the project's tables that hold names and texts, whatever these look like: a model may be called 1.10."""
DPI = 200
"""Dots an inch of a figure's PNG; the report shows it at the size that it was drawn for."""


@dataclass(frozen=True)
class Exhibit:
    """A table or figure as the report knows it."""

    name: str
    kind: Literal["table", "figure"]
    caption: str
    """One sentence that says what is seen."""
    order: int
    """Place in the report: exhibits are shown in the study's order, lowest first."""
    published: str | None = None
    """Key of the published table in ``published.toml`` that it stands beside."""
    alt: str = ""
    """For a figure: what is on it, for who cannot see it."""
    view: View | None = None
    """For a table: how its numbers are shown, where that is not as they come."""

    @property
    def key(self) -> str:
        """``tables/<name>`` or ``figures/<name>``."""
        return f"{self.kind}s/{self.name}"

    def file(self, folder: Path) -> Path:
        """Its CSV, or PNG, under a stage's folder; its LaTeX, or PDF, lies beside."""
        return _file(folder, self.key)


def _file(folder: Path, key: str) -> Path:
    return folder / f"{key}{'.csv' if key.startswith('tables/') else '.png'}"


Shown = tuple[Exhibit, Union[pd.DataFrame, "Figure"]]
"""An exhibit and what is on it."""


def save_table(folder: Path, exhibit: Exhibit, table: pd.DataFrame) -> Path:
    """Write ``tables/<name>.csv`` and ``.tex`` under a stage's folder and register them; the CSV's path."""
    csv = exhibit.file(folder)
    write_text(csv, table.to_csv(index=False))
    write_text(csv.with_suffix(".tex"), to_latex(table, exhibit.view, exhibit.caption))
    _register(folder, exhibit)
    return csv


def read_table(csv: Path) -> pd.DataFrame:
    """A table that the project wrote. Names and texts come back as they were (``NAMES``), also ``1.10``, ``007`` and
    ``NA``; in the other columns an empty cell is a missing number."""
    columns = pd.read_csv(csv, nrows=0).columns
    # In a corpus's composition the values of the dimensions kind, source, emotion are names; asked are its shares.
    names = (NAMES | {"value"}) - {"asked"} if "dimension" in columns else NAMES
    # What is found is an emotion, but in the stories' table the share that has the line's, with its interval.
    names = names - {"found"} if {"found", "low", "high"} <= set(columns) else names
    return pd.read_csv(
        csv,
        dtype={column: str for column in columns if column in names},
        keep_default_na=False,
        na_values={column: [""] for column in columns if column not in names},
    )


def save_figure(folder: Path, exhibit: Exhibit, figure: "Figure") -> Path:
    """Write ``figures/<name>.png`` and ``.pdf``, register them, close the figure; the PNG's path."""
    import matplotlib.pyplot as plt

    png = exhibit.file(folder)
    png.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png, dpi=DPI, bbox_inches="tight")
    # Without a fixed date a figure drawn from the same table would differ at every run.
    figure.savefig(png.with_suffix(".pdf"), bbox_inches="tight", metadata={"CreationDate": None})
    plt.close(figure)
    _register(folder, exhibit)
    return png


def _withdraw(folder: Path, gone: str) -> None:
    file = folder / CAPTIONS
    if gone not in _entries(file):
        return
    with lock(file, wait=True):
        write_json(file, {key: entry for key, entry in _entries(file).items() if key != gone})
    for suffix in (".csv", ".tex") if gone.startswith("tables/") else (".png", ".pdf"):
        (folder / f"{gone}{suffix}").unlink(missing_ok=True)


def exhibits(folder: Path) -> list[Exhibit]:
    """What is registered in a stage's folder, in the report's order; nothing if the stage has not run.

    Raises ``InputError`` if the registry is damaged.
    """
    file = folder / CAPTIONS
    try:
        found = [_exhibit(entry) for entry in _entries(file).values()]
    except TypeError as error:
        raise _damaged(file, error) from error
    return sorted(found, key=lambda exhibit: (exhibit.order, exhibit.name))


def _exhibit(entry: dict[str, Any]) -> Exhibit:
    exhibit = Exhibit(**entry)
    return replace(exhibit, view=View.read(**exhibit.view)) if exhibit.view else exhibit


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Name → table, of all that are registered in a stage's folder. Raises ``InputError`` if that is damaged."""
    tables = [exhibit for exhibit in exhibits(folder) if exhibit.kind == "table"]
    return {exhibit.name: read_table(exhibit.file(folder)) for exhibit in tables}


def shown_table(folder: Path, name: str) -> pd.DataFrame:
    """A table that is registered in a stage's folder, as people read it, all cells texts; its CSV has the numbers.

    Raises ``MissingInput`` if there is none of that name.
    """
    found = [exhibit for exhibit in exhibits(folder) if exhibit.key == f"tables/{name}"]
    if not found:
        raise MissingInput(f"{folder} has no table {name}; run the stage that makes it")
    return cells(read_table(found[0].file(folder)), found[0].view)


def show(folder: Path, shown: Iterable[Shown]) -> list[str]:
    """Write and register tables and figures as they come; their names, ``tables/<name>`` or ``figures/<name>``."""
    names = []
    for exhibit, content in shown:
        (save_table if exhibit.kind == "table" else save_figure)(folder, exhibit, content)
        names.append(exhibit.key)
    return names


@dataclass(frozen=True)
class Drawing(Piece):
    """Tables and figures that are drawn together, and anew when what they are drawn from has changed.

    Its file lists them: what was drawn before and is not any more is taken away.
    """

    lead: str = field(kw_only=True)
    """One that is always among them, as ``tables/<name>``; it is written last."""
    is_drawing: ClassVar[bool] = True

    def freshness(self) -> Freshness:
        if not self.manifest_path.exists():
            return Freshness("fresh" if self._stands() else "missing")
        folder = self.path.parent
        registered = _entries(folder / CAPTIONS)
        shown = all(name in registered and _file(folder, name).exists() for name in self.names())
        return super().freshness() if shown else Freshness("missing")

    def names(self) -> list[str]:
        """What was drawn the last time, by the names that ``lead`` has."""
        known = self.path.exists() and self.manifest_path.exists()
        return self.path.read_text(encoding="utf-8").splitlines() if known else []

    def _stands(self) -> bool:
        """Whether it is registered without a manifest, as all exhibits once were, is no older than its inputs, and no
        rule has changed since."""
        folder = self.path.parent
        file = _file(folder, self.lead)
        if not file.exists() or self.lead not in _entries(folder / CAPTIONS) or self.recipe.identities:
            return False
        inputs = self.recipe.inputs.values()
        return all(path.exists() and path.stat().st_mtime <= file.stat().st_mtime for path in inputs)


def drawing(
    folder: Path,
    name: str,
    lead: str,
    inputs: Mapping[str, Path],
    draw: Callable[[], Iterable[Shown]],
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    optional: Collection[str] = (),
    rules: Mapping[str, str] | None = None,
) -> Drawing:
    """The piece that shows what ``draw`` gives in a stage's folder.

    ``settings``: those that shape what is seen. ``optional``: exhibits that are drawn only where there is something to
    show, by the names that ``lead`` has; they are taken away also where it is not known that they were drawn.
    ``rules``: entries of the recipe (``RULE``) where what is shown was once computed otherwise.
    """

    def make(draft: Draft) -> None:
        names = show(folder, _with_last(draw(), lead))
        for gone in {*draft.artefact.names(), *optional} - {*names}:
            _withdraw(folder, gone)
        write_text(draft.path, "".join(f"{one}\n" for one in names))

    recipe = Recipe(f"drawing {name}", dict(inputs), dict(settings or {}), dict(rules or {}), seed=seed)
    return Drawing(folder / f".drawn-{name}", recipe, make=make, lead=lead)


def _with_last(shown: Iterable[Shown], last: str) -> Iterator[Shown]:
    """What is shown, one of them after all others."""
    kept = []
    for one in shown:
        if one[0].key == last:
            kept.append(one)
        else:
            yield one
    yield from kept


def _register(folder: Path, exhibit: Exhibit) -> None:
    file = folder / CAPTIONS
    with lock(file, wait=True):  # two stages, or two runs, may draw into one folder at once
        entries = _entries(file)
        entries[exhibit.key] = asdict(exhibit)
        write_json(file, dict(sorted(entries.items())))


def _entries(file: Path) -> dict[str, dict]:
    if not file.exists():
        return {}
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> InputError:
    return InputError(f"{file} is damaged ({error}); delete it and run the stages of that folder again")
