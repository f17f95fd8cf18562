"""The report: one self-contained page with every table and figure that the stages registered. It computes nothing."""

import base64
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emogap.artefacts import Artefact, Recipe, Summary, package_versions, sha256_text
from emogap.config import Config
from emogap.exhibits import CAPTIONS, Exhibit, exhibits
from emogap.paths import from_root
from emogap.published import PublishedTable, published
from emogap.stages import STAGES, Stage, make_each
from emogap.state import StageState, inspect_all

TEMPLATE = Path(__file__).with_name("report.html.j2")
ROWS_UNFOLDED = 30
SHORT = 28
"""Characters up to which a column of text is never broken into lines."""
ROWS_SHOWN = 200
"""A longer table is cut in the page; its CSV has all of it."""


@dataclass(frozen=True)
class Cells:
    """A table ready for the page: every cell a string."""

    columns: list[str]
    kinds: list[str]
    """How each column is set: ``n`` a number, flush right; ``s`` short text, never broken; ``t`` running text."""
    rows: list[list[str]]
    left_out: int = 0

    @property
    def is_long(self) -> bool:
        """Whether the table is folded away until somebody asks for it."""
        return len(self.rows) > ROWS_UNFOLDED


@dataclass(frozen=True)
class Entry:
    """One exhibit as the page shows it."""

    exhibit: Exhibit
    anchor: str
    cells: Cells | None
    image: str | None
    """The figure as a ``data:`` address, so that the page needs no other file."""
    source: str
    """Where its file lies, from the home."""
    published: PublishedTable | None
    published_cells: Cells | None


@dataclass(frozen=True)
class Section:
    """One stage of the study in the page."""

    stage: Stage
    state: str
    """``fresh``, ``stale`` or ``missing``; a stage that has not run is shown as missing, never as zeros."""
    why: str
    facts: list[str]
    entries: list[Entry]


def report_artefacts(config: Config) -> list[Artefact]:
    """The page, made from whatever is registered in the home."""
    inputs = {}
    for folder in _folders(config):
        if (folder / CAPTIONS).exists():
            inputs[config.home.relative(folder / CAPTIONS)] = folder / CAPTIONS
        for exhibit in exhibits(folder):
            file = _file(folder, exhibit)
            inputs[config.home.relative(file)] = file
    return [Artefact(config.home.report, Recipe("report", inputs, identities={"template": _template_sha()}))]


def report(config: Config) -> Summary:
    """Write ``report/index.html``. What has not run is shown as missing."""

    def make(artefact: Artefact) -> None:
        with artefact.making() as draft:
            states = [state for state in inspect_all(config) if state.stage.name != "report"]
            sections = [_section(config, state) for state in states]
            draft.path.write_text(render(config, sections, states), encoding="utf-8")
            draft.counts["exhibits"] = sum(len(section.entries) for section in sections)

    return make_each("report", report_artefacts(config), make)


def render(config: Config, sections: list[Section], states: list[StageState]) -> str:
    """The page's HTML. All text that comes from data is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE.name).render(
        config=config,
        sections=sections,
        size=[_size(state) for state in states],
        machine=f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        packages=package_versions(),
        models=_models(config),
        data=_data(config, states),
        seconds=sum(state.seconds for state in states),
    )


def _section(config: Config, state: StageState) -> Section:
    stage = state.stage
    folder = stage.exhibits_folder(config)
    # Both fine-tuning stages register in one folder, under names that end in theirs.
    is_shared = sum(other.folder == stage.folder for other in STAGES) > 1
    own = [e for e in exhibits(folder) if not is_shared or e.name.endswith(f"_{stage.name}")]
    entries = [_entry(config, folder, exhibit) for exhibit in own]
    return Section(stage, state.state, "; ".join(state.reasons), _facts(state), entries)


def _facts(state: StageState) -> list[str]:
    return [
        f"{m['artefact']}: {', '.join(f'{name} {value:,}' for name, value in m['counts'].items()) or 'made'} "
        f"({m['seconds']:.0f} s)"
        for m in state.manifests
    ]


def _entry(config: Config, folder: Path, exhibit: Exhibit) -> Entry:
    file = _file(folder, exhibit)
    table = published(exhibit.published) if exhibit.published else None
    return Entry(
        exhibit=exhibit,
        anchor=f"{folder.name}-{exhibit.kind}-{exhibit.name}",
        cells=_read_cells(file) if exhibit.kind == "table" else None,
        image=_data_address(file) if exhibit.kind == "figure" else None,
        source=config.home.relative(file),
        published=table,
        published_cells=_to_cells(table.frame()) if table else None,
    )


def _file(folder: Path, exhibit: Exhibit) -> Path:
    suffix = ".csv" if exhibit.kind == "table" else ".png"
    return folder / f"{exhibit.kind}s" / f"{exhibit.name}{suffix}"


def _folders(config: Config) -> list[Path]:
    return list(dict.fromkeys(stage.exhibits_folder(config) for stage in STAGES if stage.name != "report"))


def _read_cells(file: Path) -> Cells:
    import pandas as pd

    return _to_cells(pd.read_csv(file, keep_default_na=False, na_values=[""]))


def _to_cells(table: Any) -> Cells:
    shown = table.head(ROWS_SHOWN)
    return Cells(
        columns=[str(name).replace("_", " ") for name in table.columns],
        kinds=[_kind(table[name]) for name in table.columns],
        rows=[[_cell(value) for value in row] for row in shown.itertuples(index=False)],
        left_out=len(table) - len(shown),
    )


def _kind(column: Any) -> str:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column):
        return "n"
    return "s" if column.astype(str).str.len().max() <= SHORT else "t"


def _cell(value: Any) -> str:
    """A number as people read it, a missing one as a dash."""
    import pandas as pd

    if pd.isna(value):
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _data_address(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(png.read_bytes()).decode()


def _template_sha() -> str:
    return sha256_text(TEMPLATE.read_text(encoding="utf-8"))


def _size(state: StageState) -> str:
    """How large a stage's work was: what a reader must know before believing a number."""
    counts = ", ".join(f"{value:,} {_plain(name)}" for name, value in state.counts.items())
    return f"{state.stage.name}: {counts or 'has not run'}"


def _plain(name: str) -> str:
    return re.sub(r"[_-]+", " ", name)


def _models(config: Config) -> list[tuple[str, str, str]]:
    """(role, name, revision) of every model that the run names."""
    rows = [(f"base {name}", model.name, model.revision) for name, model in config.bases.items()]
    rows.append(("writer", config.writer.model.name, config.writer.model.revision))
    rows.append(("classifier of the lines", config.process.classifier.name, config.process.classifier.revision))
    rows += [("judge of the answers", judge.name, judge.revision) for judge in config.sentiment.classifiers]
    return rows


def _data(config: Config, states: list[StageState]) -> list[tuple[str, str]]:
    """(file, first characters of its hash) of everything that was read from outside the home."""
    entries = [e for state in states for manifest in state.manifests for e in manifest["inputs"].values()]
    outside = [e for e in entries if not from_root(e["path"]).is_relative_to(config.home.root)]
    return sorted({e["path"]: f"{e['sha256'][:12]}…" for e in outside}.items())
