"""The first stage: BabyLM's lines are cleaned, scored with the 28 emotions, and the emotional ones picked out.

Three artefacts, each made from the one before, so that a change redoes no more than it must: ``lines.parquet`` (what
the line rules keep), ``babylm.parquet`` (the same with scores), ``babylm_filtered.parquet`` (the emotional lines).
All are streamed: nothing here holds a whole corpus.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emogap.babylm.clean import ODDITIES, Kept, Report, clean
from emogap.babylm.raw import Source, find_sources, first_lines, members_read, size
from emogap.config import Config
from emogap.device import check_device
from emogap.emotion.classify import (
    SHARD_LINES,
    Scoring,
    classifier_identity,
    shards_folder,
    thresholds_of,
    write_scored,
)
from emogap.emotions import INDEX, LABELS, NEUTRAL, labels_over
from emogap.errors import InputError
from emogap.paths import from_root
from emogap.records import PROCESSED, count_rows, row_seed
from emogap.store.artefacts import Draft, Recipe, read_manifest
from emogap.store.exhibits import Exhibit, Shown, drawing, read_table
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.store.style import EMOTION_ORDER, SEQUENTIAL, use_style
from emogap.store.views import distinct_name
from emogap.text.near_duplicates import EQUALITY_RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_LINE = "no line is emotional; give more text or lower process.threshold"
_RULES = ("tabs", "space_before_punctuation", "strip", "min_words", "duplicates", "max_line_bytes")


def process(config: Config) -> Summary:
    """Make the three tables, print what became of each source's lines and which emotions were found in them.

    Raises ``MissingInput`` (no raw directory, no text in it), ``InputError`` (damaged archive, nothing kept, with
    ``process.strict`` anything odd), ``ModelError`` (the classifier) and ``LockHeld``.
    """
    if config.scale.executor == "plain":
        check_device(config.process.device, "process.device")
    summary = run("process", process_pieces(config))
    _print_tables(config)
    return summary


def process_pieces(config: Config) -> list[Piece]:
    """The tables ``lines``, ``babylm`` and ``babylm_filtered``, then the stage's tables and figures for the report.

    Raises ``MissingInput`` if there is no text.
    """
    home, settings = config.home, config.process
    raw: dict[str, Path] = {}
    sources = _sources(config)
    for source in sources:
        if source.path not in raw.values():
            raw[f"raw {source.name}"] = source.path
    members = {f"members of {name}": members_read(path, sources) for name, path in raw.items()}
    # A balanced sample is taken among the emotional lines, any other before lines are classified.
    sample = 0 if settings.balance else settings.sample
    lines = Recipe(
        "process",
        inputs=raw,
        settings=config.flat("process", *_RULES, "strict") | {"process.sample": sample},
        identities=(EQUALITY_RULE if settings.duplicates == "near" else {})
        | {name: told for name, told in members.items() if told},
        seed=config.seed if sample else 0,
    )
    scored = Recipe(
        "process",
        inputs={"lines": home.lines},
        settings=config.flat("process", "dtype", "token_budget") | {"shard_lines": SHARD_LINES},
        identities={"classifier": classifier_identity(settings.classifier)},
    )
    sampled = config.flat("process", "sample") if settings.balance else {}
    filtered = Recipe(
        "process",
        inputs={"babylm": home.processed},
        settings=config.flat("process", "threshold", "balance") | sampled,
        seed=config.seed if settings.balance else 0,
    )
    tables = {path.stem: path for path in (home.lines, home.processed, home.filtered)}
    return [
        Piece(home.lines, lines, make=partial(_make_lines, config)),
        Piece(home.processed, scored, make=partial(_make_scored, config), parts=shards_folder(home.processed)),
        Piece(home.filtered, filtered, make=partial(_make_filtered, config)),
        drawing(home.filtered.parent, "process", "tables/cleaning", tables, partial(_exhibits, config)),
    ]


def _sources(config: Config) -> list[Source]:
    return find_sources([from_root(folder) for folder in config.process.raw_dirs], config.process.extensions)


# --- lines -----------------------------------------------------------------------------------------------------------


def _make_lines(config: Config, draft: Draft) -> None:
    sources, settings = _sources(config), config.process
    sample = draft.artefact.recipe.settings["process.sample"]
    reports: list[Report] = []
    # A sample needs the hashes of all ids first: everything is written once, then what was sampled.
    every = draft.path.with_name(draft.path.name + ".all") if sample else draft.path
    with progress("cleaning", sum(size(source) for source in sources) >> 10, "KiB") as bar:
        kept = clean(sources, settings, reports, advance=lambda count: bar.advance(count >> 10))
        written = _write_lines(every, map(_as_table, kept))
    if not written:
        raise InputError(
            f"none of the {sum(r.lines for r in reports):,} lines under {', '.join(settings.raw_dirs)} has more "
            f"than {settings.min_words} words; give other text or lower process.min_words"
        )
    draft.counts |= {"lines read": sum(r.lines for r in reports), "lines kept": written}
    if sample:
        draft.counts["lines drawn"] = _sample(every, draft.path, sample, config.seed)
        every.unlink()
    draft.notes["sources"] = [report.flat() for report in reports]


def _as_table(kept: Kept) -> pa.Table:
    """id, source, text of kept lines; an id is ``<source>:<line number>``."""
    import polars as pl

    frame = pl.DataFrame({"id": kept.numbers, "source": kept.source, "text": kept.texts}).with_columns(
        id=pl.format("{}:{}", pl.lit(kept.source), pl.col("id"))
    )
    return frame.to_arrow().cast(pa.schema(dict.fromkeys(frame.columns, pa.string())))


def _write_lines(path: Path, tables: Iterator[pa.Table]) -> int:
    """Write tables as one file whose row groups are the classifier's shards. Returns the number of rows."""
    schema = pa.schema(dict.fromkeys(("id", "source", "text"), pa.string()))
    waiting, rows = schema.empty_table(), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            waiting, rows = pa.concat_tables([waiting, table]), rows + len(table)
            whole = len(waiting) // SHARD_LINES * SHARD_LINES
            if whole:
                writer.write_table(waiting.slice(0, whole), row_group_size=SHARD_LINES)
                waiting = waiting.slice(whole)
        if len(waiting):
            writer.write_table(waiting)
    return rows


def _sample(every: Path, sampled: Path, count: int, seed: int) -> int:
    """Write, in their order, the ``count`` lines whose own random numbers are lowest. Returns how many are written."""
    file = pq.ParquetFile(every)
    numbers = (_random_numbers(group["id"].to_pylist(), seed) for group in _row_groups(file, ["id"]))
    chosen = lowest(np.concatenate([*numbers]), count)
    return _write_lines(sampled, _chosen(file, chosen))


def _random_numbers(ids: list[str], seed: int) -> np.ndarray:
    """One int64 a row, from the run's seed and the row's id alone."""
    return np.fromiter((row_seed(seed, row_id, "sample") for row_id in ids), dtype=np.int64, count=len(ids))


def lowest(numbers: np.ndarray, count: int) -> np.ndarray:
    """A mask over the ``count`` lowest numbers (all, if there are fewer)."""
    mask = np.zeros(len(numbers), dtype=bool)
    mask[np.argsort(numbers, kind="stable")[:count]] = True
    return mask


def _row_groups(file, columns: list[str] | None = None) -> Iterator[pa.Table]:
    return (file.read_row_group(number, columns=columns) for number in range(file.num_row_groups))


def _chosen(file, mask: np.ndarray) -> Iterator[pa.Table]:
    """The rows that a mask over the whole file selects, row group by row group."""
    start = 0
    for group in _row_groups(file):
        yield group.filter(pa.array(mask[start : start + len(group)]))
        start += len(group)


# --- scores ----------------------------------------------------------------------------------------------------------


def _make_scored(config: Config, draft: Draft) -> None:
    settings, file = config.process, pq.ParquetFile(config.home.lines)
    scoring = Scoring(settings.classifier, settings.device, settings.dtype, settings.token_budget, config.scale)
    shards, schema = partial(_row_groups, file), pa.schema(PROCESSED.columns)
    write_scored(draft, scoring, shards, file.metadata.num_rows, "lines", schema)


# --- the filter ------------------------------------------------------------------------------------------------------


def _make_filtered(config: Config, draft: Draft) -> None:
    settings = config.process
    loaded = read_manifest(config.home.processed)["notes"]["classifier"]
    thresholds = thresholds_of(settings.threshold, loaded["thresholds"], loaded["name"])
    labels, scores = _top_emotions(config.home.processed)
    emotional = (labels != INDEX[NEUTRAL]) & (scores > thresholds[labels])
    draft.counts["emotional"] = int(emotional.sum())
    if settings.balance and emotional.any():
        emotional = _balanced(config.home.processed, labels, emotional, settings.sample, config.seed)
    if settings.balance:
        draft.counts["emotional, drawn"] = int(emotional.sum())
    _write_filtered(draft.path, pq.ParquetFile(config.home.processed), emotional, thresholds)
    draft.notes["threshold"] = settings.threshold
    draft.notes["thresholds"] = dict(zip(LABELS, np.round(thresholds, 6).tolist(), strict=True))


def _top_emotions(scored: Path) -> tuple[np.ndarray, np.ndarray]:
    """For each line the index of its top label, int8 (lines,), and the score of that label, float32 (lines,)."""
    import polars as pl

    label = pl.col("emotion").replace_strict(INDEX, return_dtype=pl.Int8)
    rows = pl.scan_parquet(scored, glob=False).select(label, "score").collect(engine="streaming")
    return rows["emotion"].to_numpy(), rows["score"].to_numpy()


def _balanced(scored: Path, labels: np.ndarray, emotional: np.ndarray, sample: int, seed: int) -> np.ndarray:
    """The mask ``emotional`` reduced to a sample that is even over the emotions."""
    found = np.bincount(labels[emotional], minlength=len(LABELS))
    quotas = even_quotas(found, sample or int(np.minimum(found, np.median(found[found > 0])).sum()))
    ids = pq.read_table(scored, columns=["id"])["id"].filter(pa.array(emotional))
    numbers = np.zeros(len(emotional), dtype=np.int64)
    numbers[emotional] = _random_numbers(ids.to_pylist(), seed)
    sampled = np.zeros(len(emotional), dtype=bool)
    for label, quota in enumerate(quotas):
        rows = np.flatnonzero(emotional & (labels == label))
        sampled[rows[lowest(numbers[rows], quota)]] = True
    return sampled


def even_quotas(found: np.ndarray, total: int) -> np.ndarray:
    """How many of each kind to take so that ``total`` are taken as evenly as ``found`` (how many there are) allows.

    A kind that has fewer than its share gives all it has, and the rest share what is left; what cannot be shared
    evenly goes to the first kinds. The sum is ``total``, or all there are.
    """
    quotas = np.zeros(len(found), dtype=np.int64)
    left = min(total, int(found.sum()))
    while left:
        open_kinds = np.flatnonzero(quotas < found)
        share = max(1, left // len(open_kinds))
        taken = np.minimum(found[open_kinds] - quotas[open_kinds], share)[:left]
        quotas[open_kinds[: len(taken)]] += taken
        left -= int(taken.sum())
    return quotas


def _write_filtered(path: Path, file, chosen: np.ndarray, thresholds: np.ndarray) -> None:
    """The chosen rows with a further column ``labels``: all labels that pass, highest first."""
    schema = pa.schema(PROCESSED.columns | {"labels": pa.list_(pa.string())})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _chosen(file, chosen):
            labels = [labels_over(np.array(scores), thresholds) for scores in rows["scores"].to_pylist()]
            if len(rows):
                writer.write_table(rows.append_column("labels", pa.array(labels)).cast(schema))


# --- what the user sees ----------------------------------------------------------------------------------------------


def _name_of(source: str) -> str:
    """The name of a source in tables, where it must differ from the names of their other columns and rows."""
    return distinct_name(source, ("emotion", "all", "emotional"), "source")


def emotions_by_source(scored: Path, filtered: Path) -> pd.DataFrame:
    """Lines by top label: a row a label; a column a source, ``all``, and ``emotional`` (all that pass the filter)."""
    import polars as pl

    lines, emotional = (pl.scan_parquet(file, glob=False) for file in (scored, filtered))  # [ in a path is literal
    counts = lines.group_by("source", "emotion").len().collect(engine="streaming").to_pandas()
    counts["source"] = counts["source"].map(_name_of)
    passed = emotional.group_by("emotion").len().collect().to_pandas().set_index("emotion")["len"]
    table = counts.pivot(index="emotion", columns="source", values="len").reindex(LABELS).fillna(0).astype(int)
    table = table[sorted(table.columns)]
    table["all"] = table.sum(axis=1)
    table["emotional"] = passed.reindex(LABELS).fillna(0).astype(int)
    return table.rename_axis(columns=None).reset_index()


def before_and_after(config: Config, count: int = 5) -> pd.DataFrame:
    """The first lines of the sources as they stand in their files, beside what became of them, for reading.

    Columns: ``id, raw``, and once the stage has run ``cleaned`` (empty for a line that was left out), ``emotion``,
    ``score`` and ``emotional`` (whether the filter keeps it). Raises ``MissingInput`` if there is no text.
    """
    sources = _sources(config)
    each = -(-count // len(sources))
    raw = [(f"{source.name}:{number}", text) for source in sources for number, text in first_lines(source, each)]
    table = pd.DataFrame(raw[:count], columns=["id", "raw"])
    if not config.home.filtered.exists():
        return table
    scored, emotional = (_rows_of(path, table["id"]) for path in (config.home.processed, config.home.filtered))
    after = scored.set_index("id")[["text", "emotion", "score"]].rename(columns={"text": "cleaned"})
    table = table.join(after, on="id").assign(emotional=table["id"].isin(emotional["id"]))
    return table.fillna({"cleaned": "", "emotion": ""})


def _rows_of(path: Path, ids: pd.Series) -> pd.DataFrame:
    import polars as pl

    return pl.scan_parquet(path, glob=False).filter(pl.col("id").is_in(list(ids))).collect().to_pandas()


def cleaning_table(config: Config) -> pd.DataFrame:
    """What became of each source's lines, from the manifest of ``lines.parquet``: a row a source, and all of them."""
    table = pd.DataFrame(read_manifest(config.home.lines)["notes"]["sources"])
    table["source"] = table["source"].map(_name_of)
    total = table.drop(columns="source").sum()
    table = pd.concat([table, pd.DataFrame([{"source": "all", **total}])], ignore_index=True)
    # Oddities that never occurred would be columns of zeros.
    unseen = [f"odd_{kind}" for kind in ODDITIES if total[f"odd_{kind}"] == 0]
    return table.drop(columns=unseen)


def _exhibits(config: Config) -> Iterator[Shown]:
    cleaned = cleaning_table(config)
    kept, read = int(cleaned["kept"].iloc[-1]), int(cleaned["lines"].iloc[-1])
    caption = f"The line rules keep {kept:,} of {read:,} lines: why the others go."
    yield Exhibit("cleaning", "table", caption, 10), cleaned
    table = emotions_by_source(config.home.processed, config.home.filtered)
    lines, emotional = int(table["all"].sum()), int(table["emotional"].sum())
    caption = (
        f"Top emotion of {lines:,} lines by source; {emotional:,} are emotional: not neutral, score over "
        f"{_threshold(config)}{', sampled evenly' if config.process.balance else ''}."
    )
    yield Exhibit("emotions_by_source", "table", caption, 11), table
    alt = "Heat map: 27 emotions by source, the share of the source's lines that have it as their top emotion."
    yield Exhibit("emotions_by_source", "figure", caption, 12, alt=alt), emotion_shares(table)


def emotion_shares(table: pd.DataFrame) -> "Figure":
    """Heat map of ``emotions_by_source``: which share of a source's lines has which emotion on top, in per cent.

    Neutral lines count in the shares but have no row, which would outshine all others; their share stands in the label
    of the column. A cell without a number is an emotion that no line of the source has on top.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    use_style()
    counts = table.set_index("emotion").drop(columns="emotional")
    shares = 100 * counts / counts.sum()
    emotions = [label for label in EMOTION_ORDER if label != NEUTRAL]
    labels = [
        f"{source}\n{counts[source].sum():,} lines\n{shares.loc[NEUTRAL, source]:.0f} % neutral" for source in counts
    ]
    numbers = shares.loc[emotions].map("{:.1f}".format).where(counts.loc[emotions] > 0, "")
    figure, axes = plt.subplots(figsize=(1.2 + 1.25 * len(labels), 8.2))
    sns.heatmap(
        shares.loc[emotions].to_numpy(),
        annot=numbers.to_numpy(),
        fmt="",
        cmap=SEQUENTIAL,
        linewidths=0.5,
        xticklabels=labels,
        yticklabels=emotions,
        cbar_kws={"label": "share of the source's lines (%)", "shrink": 0.6},
        ax=axes,
    )
    axes.tick_params(axis="x", rotation=90)
    axes.set_title(_title(counts.loc[emotions, "all"], counts["all"].sum()))
    axes.set_xlabel("source")
    axes.set_ylabel("top emotion of the line")
    return figure


_NAMED = 3
"""Up to so many emotions that tie for the first place are named in a title; of more it only says that they tie."""


def _title(counts: pd.Series, lines: int) -> str:
    """The figure's title, which names the most frequent emotion. ``counts``: lines of each emotion but neutral."""
    most = int(counts.max())
    first = list(counts.index[counts == most])
    title = f"Top emotion of {lines:,} lines by source"
    if most == 0:
        return f"{title}: all are neutral"
    if len(first) > _NAMED:
        return f"{title}: {len(first)} emotions have {most:,} each, none has more"
    return f"{title}: {', '.join(first)} most often ({most:,}{' each' if len(first) > 1 else ''})"


def _threshold(config: Config) -> str:
    chosen = config.process.threshold
    return "the classifier's tuned threshold of that label" if chosen == "tuned" else str(chosen)


def nothing_emotional(config: Config) -> bool:
    """Whether the text was processed and no line of it is emotional. Reads only the footer of the Parquet file.

    Raises ``InputError`` if that cannot be read.
    """
    path = config.home.filtered
    return path.exists() and count_rows(path) == 0


def _print_tables(config: Config) -> None:
    print("What became of the lines of each source")
    print(cleaning_table(config).to_string(index=False), end="\n\n")
    print(f"Lines by top emotion; `emotional`: not neutral and score over {_threshold(config)}")
    found = read_table(config.home.filtered.parent / "tables" / "emotions_by_source.csv")
    print(found.to_string(index=False), end="\n\n")
    absent = found.loc[found["emotional"].eq(0) & found["emotion"].ne(NEUTRAL), "emotion"]
    if len(absent):
        print(f"warning: never the top emotion of an emotional line: {', '.join(absent)}")
