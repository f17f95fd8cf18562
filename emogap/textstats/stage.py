"""Statistics of stories and rewrites: the published counts, and what else the texts are like."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from emogap import records
from emogap.babylm.process import nothing_emotional
from emogap.config import Config
from emogap.controls import PLAIN
from emogap.emotion.classifier import identify_classifier
from emogap.errors import MissingInput, UsageError
from emogap.lm.hub import identify
from emogap.paths import MAKERS
from emogap.records import KEPT, RowType, read_rows
from emogap.store.artefacts import Draft, Recipe, write_text
from emogap.store.exhibits import Shown, drawing, read_table, show
from emogap.store.pieces import Piece, Summary, run
from emogap.text.statistics import INTERVALS_RULE
from emogap.text.word_counts import PRESETS, REWRITE_PRESETS, STORY_PRESETS
from emogap.text.words import common_release, spelling_rule, unsuitable_release
from emogap.textstats.describe import (
    describe,
    suitability,
    tidy,
    tokenizer_name,
    without_text,
    word_counts,
    write_statistics,
)
from emogap.textstats.scan import Job, scan
from emogap.textstats.sources import COLUMNS, REWRITE_COLUMNS, STORY_COLUMNS, read_texts, sources_rule

STATISTICS, SUITABILITY = "text_statistics.csv", "suitability.csv"
TABLES = "tables"
OPTIONAL = ("tables/comparisons", "tables/words_by_emotion", "tables/names_and_openings")
"""Exhibits that are made only where they have a row."""


@dataclass(frozen=True)
class Genre:
    """Stories or rewrites: what differs between their statistics."""

    name: str
    stage: str
    presets: tuple[str, ...]
    columns: tuple[str, ...]
    published: str
    """Key of the published table that the counts are compared with."""
    group: str
    """The column that groups a home's own texts."""
    folder: Callable[[Config], Path]
    inputs: Callable[[Config], dict[str, Path]]
    """Name → file of a home's own texts. Raises ``MissingInput`` while they are not there."""
    row_type: RowType
    """Row type of these files."""

    def run(self, config: Config) -> Summary:
        """Statistics of a home's accepted texts. Raises ``MissingInput``, ``InputError`` or ``ModelError``."""
        return run(self.stage, self.pieces(config))

    def rows(self, config: Config) -> pd.DataFrame:
        """All rows of a home's own files, one per text, rejected ones too; ``emotion_score`` and ``similarity`` are NaN
        where they were not measured. Raises ``MissingInput``."""
        tables = [read_rows(path, self.row_type) for path in self.inputs(config).values()]
        table = pd.concat(tables or [pd.DataFrame(columns=list(self.row_type.columns))], ignore_index=True)
        numbers = {name: float for name in ("emotion_score", "similarity")}
        return table.reindex(columns=list(dict.fromkeys([*table, *numbers]))).astype(numbers)

    def pieces(self, config: Config) -> list[Piece]:
        """Two tables, and the exhibits drawn from these and from those under ``tables/``. Raises ``MissingInput``."""
        folder, inputs = self.folder(config), self.inputs(config)
        made, shown = _piece(config, self, folder, inputs), partial(_exhibits, folder, self)
        fit = _suitability_piece(config, self, made.path, inputs)
        fit_shown = partial(_suitability_shown, folder, self)
        return [
            made,
            fit,
            drawing(folder, self.stage, "tables/word_counts", {"statistics": made.path}, shown, optional=OPTIONAL),
            drawing(folder, "suitability", "tables/suitability", {"suitability": fit.path}, fit_shown),
        ]


def _stories(config: Config) -> dict[str, Path]:
    """Method and chunk → file; empty where no line is emotional, so that there is nothing to write about."""
    chunks = {
        f"{method}/{path.stem}": path
        for method in config.augment.methods
        for path in config.home.chunks(method).values()
    }
    if not chunks and not nothing_emotional(config):
        raise MissingInput(
            f"babylm_augment/*/chunk_*.parquet not found under {config.home.root}; run {MAKERS['babylm_augment']}"
        )
    return chunks


def _rewrites(config: Config) -> dict[str, Path]:
    return {version: config.home.require(config.home.rewrite_rows(version)) for version in config.rewrite.versions}


STORIES = Genre(
    "stories", "babylm-stats", STORY_PRESETS, STORY_COLUMNS, "story_statistics", "method",
    lambda config: config.home.story_stats, _stories, records.STORIES,
)  # fmt: skip
REWRITES = Genre(
    "rewrites", "alpaca-stats", REWRITE_PRESETS, REWRITE_COLUMNS, "rewrite_statistics", "version",
    lambda config: config.home.rewrite_stats, _rewrites, records.REWRITES,
)  # fmt: skip
story_stats, story_stats_pieces = STORIES.run, STORIES.pieces
rewrite_stats, rewrite_stats_pieces = REWRITES.run, REWRITES.pieces


def _piece(config: Config, genre: Genre, folder: Path, inputs: dict[str, Path]) -> Piece:
    kept = {"filters": [("status", "==", KEPT)]}
    recipe = Recipe(
        genre.stage,
        inputs,
        config.flat("stats", "classified"),
        {
            "stats.tokenizer": identify(config.bases[tokenizer_name(config)]),
            "stats.classifier": identify_classifier(config.stats.classifier.name, config.stats.classifier.revision),
        }
        | spelling_rule(inputs.values(), genre.columns[-1], **kept)
        | (sources_rule(inputs.values()) if genre is STORIES else {})
        | INTERVALS_RULE,
        config.seed,
    )
    return Piece(folder / STATISTICS, recipe, make=partial(_make, config, genre))


def _make(config: Config, genre: Genre, draft: Draft) -> None:
    texts = _own_texts(config, list(draft.artefact.recipe.inputs.values()), genre)
    for name in without_text(texts):
        print(f"{genre.stage}: {genre.group} {name} has no text: none of its {genre.name} was kept")
    tables = describe(texts, genre.presets, config)
    tables["statistics"].to_csv(draft.path, index=False)
    # Before the artefact is published: once it is fresh, nobody would write them again.
    write_statistics(tables, draft.artefact.path.parent / TABLES)
    draft.counts |= {"texts": len(texts), "measures": len(tables["statistics"])}


def _suitability_piece(config: Config, genre: Genre, statistics: Path, inputs: dict[str, Path]) -> Piece:
    lists = {"common words": common_release(), "unsuitable words": unsuitable_release()}
    recipe = Recipe(genre.stage, {**inputs, "statistics": statistics}, {}, lists)
    make = partial(_make_suitability, config, genre, statistics, list(inputs.values()))
    return Piece(statistics.with_name(SUITABILITY), recipe, make=make)


def _make_suitability(config: Config, genre: Genre, statistics: Path, paths: Sequence[Path], draft: Draft) -> None:
    found = suitability(_own_texts(config, paths, genre), read_table(statistics), genre.name)
    found.to_csv(draft.path, index=False)


def _own_texts(config: Config, paths: Sequence[Path], genre: Genre) -> pd.DataFrame:
    """The accepted texts of a home; a method or version without an accepted text is still listed as a group."""
    if paths:
        texts = read_texts(paths, genre.columns[::-1], group=genre.group, may_be_empty=True)
        texts.loc[texts["group"] == PLAIN, "emotion"] = ""  # plain stories are asked for without an emotion
        return texts
    texts = pd.DataFrame(columns=COLUMNS, dtype=str)  # there was no line to write about
    texts.attrs["groups"] = list(config.augment.methods)
    return texts


def describe_files(
    paths: Sequence[Path],
    out: Path,
    genre: Genre,
    config: Config,
    column: str | None = None,
    group: str | None = None,
    preset: str | None = None,
) -> pd.DataFrame:
    """Write statistics of any files to ``out/text_statistics.csv`` and return that table.

    Without ``preset`` the other tables and the figures are written to ``out`` too; with one, only its four counts are
    made. Raises ``UsageError`` for an unknown preset, and what ``read_texts`` raises.
    """
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"unknown preset '{preset}'; choose among {', '.join(PRESETS)}")
    texts = read_texts(paths, genre.columns, column, group)
    if preset is None:
        tables = describe(texts, genre.presets, config)
        write_statistics(tables, out / TABLES)
        show(out, _exhibits(out, genre))
        table = tables["statistics"]
        write_text(out / SUITABILITY, suitability(texts, table, genre.name).to_csv(index=False))
        show(out, _suitability_shown(out, genre))
    else:
        table = tidy(word_counts(scan(texts, Job((preset,)), config.stats.workers)))
    write_text(out / STATISTICS, table.to_csv(index=False))
    return table


def _exhibits(folder: Path, genre: Genre) -> Iterator[Shown]:
    from emogap.textstats.figures import statistics_exhibits

    return statistics_exhibits(folder, genre.name, genre.presets[0], genre.published)


def _suitability_shown(folder: Path, genre: Genre) -> Iterator[Shown]:
    from emogap.textstats.figures import suitability_shown

    return suitability_shown(folder / SUITABILITY, genre.name)
