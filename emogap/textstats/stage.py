"""Statistics of stories and rewrites: the published counts, and what else the texts are like."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from emogap import records
from emogap.babylm.process import nothing_emotional
from emogap.config import Config
from emogap.controls import PLAIN
from emogap.emotion.classifier import identify_classifier
from emogap.emotions import INDEX, LABELS
from emogap.errors import MissingInput, UsageError
from emogap.lm.hub import identify, resolve
from emogap.lm.loading import tokenizer_folder
from emogap.paths import MAKERS
from emogap.records import KEPT, RowType, read_rows, row_seed
from emogap.store.artefacts import Draft, Recipe, write_text
from emogap.store.exhibits import Shown, drawing, read_table, show
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.text import comparison, measures
from emogap.text.statistics import INTERVALS_RULE, Estimate, Z, mean, proportion
from emogap.text.word_counts import PRESETS, REWRITE_PRESETS, STORY_PRESETS
from emogap.text.words import spelling_rule
from emogap.textstats.scan import Job, Scan, scan
from emogap.textstats.sources import COLUMNS, REWRITE_COLUMNS, STORY_COLUMNS, read_texts, sources_rule
from emogap.textstats.suitability import SUITABILITY, suitability, suitability_identities, suitability_shown
from emogap.textstats.tables import TABLE_COLUMNS, Statistics

STATISTICS = "text_statistics.csv"
TABLES = "tables"
OPTIONAL = ("tables/comparisons", "tables/words_by_emotion", "tables/names_and_openings")
"""Exhibits that there are where they have a row."""
_PER_TEXT = ("words", "sentences", "tokens", "flesch_reading_ease", "flesch_kincaid_grade")
_TOP = 20
_LENGTH_BINS = 30


@dataclass(frozen=True)
class Genre:
    """Stories or rewrites: what differs between their statistics."""

    name: str
    stage: str
    presets: tuple[str, ...]
    columns: tuple[str, ...]
    published: str
    """Key of the published table that the counts stand beside."""
    group: str
    """The column that groups a home's own texts."""
    folder: Callable[[Config], Path]
    inputs: Callable[[Config], dict[str, Path]]
    """Name → file of a home's own texts. Raises ``MissingInput`` while they are not there."""
    row_type: RowType
    """Of these files."""

    def run(self, config: Config) -> Summary:
        """Statistics of a home's accepted texts. Raises ``MissingInput``, ``InputError`` or ``ModelError``."""
        return run(self.stage, self.pieces(config))

    def rows(self, config: Config) -> pd.DataFrame:
        """A home's own texts as they were asked for and came, a row a text, rejected ones too; ``emotion_score`` and
        ``similarity`` are missing where they were not measured. Raises ``MissingInput``."""
        tables = [read_rows(path, self.row_type) for path in self.inputs(config).values()]
        table = pd.concat(tables or [pd.DataFrame(columns=list(self.row_type.columns))], ignore_index=True)
        numbers = {name: float for name in ("emotion_score", "similarity")}
        return table.reindex(columns=list(dict.fromkeys([*table, *numbers]))).astype(numbers)

    def pieces(self, config: Config) -> list[Piece]:
        """Two tables, and what is seen of them and of those beside them. Raises ``MissingInput``."""
        folder, inputs = self.folder(config), self.inputs(config)
        made, shown = _piece(config, self, folder, inputs), partial(_exhibits, folder, self)
        fit = _suitability_piece(config, self, made.path, inputs)
        fit_shown = partial(suitability_shown, fit.path, self.name)
        return [
            made,
            fit,
            drawing(folder, self.stage, "tables/word_counts", {"statistics": made.path}, shown, optional=OPTIONAL),
            drawing(folder, "suitability", "tables/suitability", {"suitability": fit.path}, fit_shown),
        ]


def _stories(config: Config) -> dict[str, Path]:
    """None where there is no line to write about."""
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
            "stats.tokenizer": identify(config.bases[_tokenizer_name(config)]),
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
    for name in _without_text(texts):
        print(f"{genre.stage}: {genre.group} {name} has no text: none of its {genre.name} was kept")
    statistics = describe(texts, genre, config)
    statistics.statistics.to_csv(draft.path, index=False)
    # Before the artefact is published: once it is fresh, nobody would write them again.
    statistics.write(draft.artefact.path.parent / TABLES)
    draft.counts |= {"texts": len(texts), "measures": len(statistics.statistics)}


def _suitability_piece(config: Config, genre: Genre, statistics: Path, inputs: dict[str, Path]) -> Piece:
    recipe = Recipe(genre.stage, {**inputs, "statistics": statistics}, {}, suitability_identities())
    make = partial(_make_suitability, config, genre, statistics, list(inputs.values()))
    return Piece(statistics.with_name(SUITABILITY), recipe, make=make)


def _make_suitability(config: Config, genre: Genre, statistics: Path, paths: Sequence[Path], draft: Draft) -> None:
    found = suitability(_own_texts(config, paths, genre), read_table(statistics), genre.name)
    found.to_csv(draft.path, index=False)


def _own_texts(config: Config, paths: Sequence[Path], genre: Genre) -> pd.DataFrame:
    """The accepted texts of a home; a method or version of which none was accepted is a group all the same."""
    if paths:
        texts = read_texts(paths, genre.columns[::-1], group=genre.group, may_be_empty=True)
        texts.loc[texts["group"] == PLAIN, "emotion"] = ""  # it asks for none
        return texts
    texts = pd.DataFrame(columns=COLUMNS, dtype=str)  # there was no line to write about
    texts.attrs["groups"] = list(config.augment.methods)
    return texts


def _without_text(texts: pd.DataFrame) -> list[str]:
    there = set(texts["group"])
    return [group for group in texts.attrs.get("groups", ()) if group not in there]


def describe_files(
    paths: Sequence[Path],
    out: Path,
    genre: Genre,
    config: Config,
    column: str | None = None,
    group: str | None = None,
    preset: str | None = None,
) -> pd.DataFrame:
    """Statistics of any files, written to ``out/text_statistics.csv`` and, without a preset, tables and figures there.

    With a preset its four counts alone. The table written. Raises ``UsageError`` for an unknown preset, and what
    ``read_texts`` raises.
    """
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"unknown preset '{preset}'; choose among {', '.join(PRESETS)}")
    texts = read_texts(paths, genre.columns, column, group)
    if preset is None:
        statistics = describe(texts, genre, config)
        statistics.write(out / TABLES)
        show(out, _exhibits(out, genre))
        table = statistics.statistics
        write_text(out / SUITABILITY, suitability(texts, table, genre.name).to_csv(index=False))
        show(out, suitability_shown(out / SUITABILITY, genre.name))
    else:
        table = _tidy(_word_counts(scan(texts, Job((preset,)), config.stats.workers)))
    write_text(out / STATISTICS, table.to_csv(index=False))
    return table


def _exhibits(folder: Path, genre: Genre) -> Iterator[Shown]:
    from emogap.textstats.figures import statistics_exhibits

    return statistics_exhibits(folder, genre.name, genre.presets[0], genre.published)


def describe(texts: pd.DataFrame, genre: Genre, config: Config) -> Statistics:
    """All statistics of texts as ``read_texts`` gives them. Of a group without a text it is said that it has none."""
    nothing = [
        _row(group, measure, 0, preset)
        for group in _without_text(texts)
        for preset in genre.presets
        for measure in ("texts", "total_words", "unique_words")
    ]
    if texts.empty:
        return Statistics(_tidy(nothing), **{table: _table(table, []) for table in TABLE_COLUMNS})
    tokenizer = tokenizer_folder(resolve(config.bases[_tokenizer_name(config)]).path)
    nltk_presets = tuple(name for name in genre.presets if name.startswith("published"))
    found = scan(texts, Job(nltk_presets, tokenizer), config.stats.workers)
    encoded = measures.encode(texts["text"])
    values = texts[["group", "source", "line", "emotion"]].join(found.numbers)
    values["words"] = encoded.lengths()
    values["emotion_stated"] = measures.states_emotion(encoded, texts["emotion"].tolist()).astype(float)
    values.loc[texts["emotion"].eq(""), "emotion_stated"] = np.nan
    members = _members(texts, config.seed)
    opened = {(group, n): measures.openings(encoded, part, n) for group, part in members.items() for n in (3, 8)}
    confusion = _confusion(texts, members, config)
    rows = [
        *_word_counts(found),
        *_own_counts(encoded, members),
        *_averages(values, members),
        *_richness(encoded, members),
        *_shares(values, members, opened, found),
        *_agreement(confusion),
        *nothing,
    ]
    return Statistics(
        statistics=_tidy(rows),
        lengths=_histograms(values),
        growth=_growth(encoded, members),
        comparisons=_comparisons(values, list(members)),
        openings=_openings(opened, members),
        names=_names(found, members),
        emotion_words=_emotion_words(encoded, texts["emotion"]),
        confusion=confusion,
        counts=_counted(texts[texts["emotion"] != ""], "counts"),
    )


def meaning(rewrites: pd.DataFrame) -> pd.DataFrame:
    """How far each version keeps the meaning, rejected rewrites too: version, rewrites, kept, similarity (mean cosine),
    all_facts (share that lacks no number or name of its original), each with the ends of its 95 % interval.

    ``rewrites``: a row a rewrite: version, status, similarity (missing where none was measured), lost (empty where
    nothing is).
    """
    rows = []
    for version, part in rewrites.groupby("version", sort=False):
        row = {"version": version, "rewrites": len(part), "kept": int(part["status"].eq(KEPT).sum())}
        measured = part["similarity"].dropna()
        found = {"similarity": mean(measured)} if len(measured) else {}
        found["all_facts"] = proportion(int(part["lost"].eq("").sum()), len(part))
        for name, estimate in found.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        rows.append(row)
    ends = [f"{name}{end}" for name in ("similarity", "all_facts") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["version", "rewrites", "kept", *ends])


def _table(name: str, rows: list) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=TABLE_COLUMNS[name])


def _counted(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """How many texts have each combination of values in the columns of that table."""
    *values, _ = TABLE_COLUMNS[name]
    return rows.groupby(values).size().rename("texts").reset_index()


def _tokenizer_name(config: Config) -> str:
    name = config.stats.tokenizer or next(iter(config.bases))
    if name not in config.bases:
        raise UsageError(
            f"setting 'stats.tokenizer' = \"{name}\" is not a base; choose among {', '.join(config.bases)}"
        )
    return name


def _members(texts: pd.DataFrame, run_seed: int) -> dict[str, np.ndarray]:
    """Group → positions of its texts, in an order drawn once."""
    keys = np.asarray([row_seed(run_seed, str(position), "text order") for position in range(len(texts))])
    groups = texts["group"].to_numpy()
    order = np.argsort(keys)
    return {group: order[groups[order] == group] for group in texts["group"].unique()}


def _row(group: str, measure: str, value: float, preset: str = "words") -> dict:
    return {"group": group, "preset": preset, "measure": measure, "value": value}


def _with_interval(group: str, measure: str, estimate: Estimate, preset: str = "words") -> list[dict]:
    """The value and the ends of its 95 % interval; ends that cannot be told are no rows."""
    ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
    return [_row(group, measure + end, value, preset) for end, value in ends.items() if not np.isnan(value)]


def _four_counts(group: str, preset: str, texts: int, total: int, unique: int) -> list[dict]:
    """The counts that were published."""
    counts = {"texts": texts, "total_words": total, "unique_words": unique, "average_words": total / texts}
    return [_row(group, measure, value, preset) for measure, value in counts.items()]


def _word_counts(found: Scan) -> list[dict]:
    rows = []
    for group, counts in found.counts.items():
        for preset, count in counts.items():
            rows += _four_counts(group, preset, count.texts, count.total, len(count.distinct))
            # The average itself is among the four.
            rows += _with_interval(group, "average_words", mean(count.lengths), preset)[1:]
    return rows


def _tidy(rows: list[dict]) -> pd.DataFrame:
    """The rows as a frame in which counts are whole numbers."""
    table = pd.DataFrame(rows, columns=["group", "preset", "measure", "value"])
    whole = [int(value) if float(value).is_integer() else value for value in table["value"]]
    return table.assign(value=pd.Series(whole, dtype=object))


def _own_counts(encoded: measures.Encoded, members: dict[str, np.ndarray]) -> list[dict]:
    """The four counts of the presets ``words`` and ``content-words``, from the numbered words."""
    rows = []
    stop = encoded.stop_words()
    for group, part in members.items():
        ids = encoded.of(part)
        for preset, words in (("words", ids), ("content-words", ids[~stop[ids]])):
            rows += _four_counts(group, preset, len(part), len(words), len(np.unique(words)))
    return rows


def _averages(values: pd.DataFrame, members: dict[str, np.ndarray]) -> list[dict]:
    rows = []
    for group, part in members.items():
        mine = values.iloc[part]
        for measure in _PER_TEXT:
            estimate = mean(mine[measure])
            name = measure if measure.startswith("flesch") else f"average_{measure}"
            # average_words itself is among the four counts.
            rows += _with_interval(group, name, estimate)[1 if measure == "words" else 0 :]
        rows += [_row(group, f"words_p{q}", mine["words"].quantile(q / 100)) for q in (5, 50, 95)]
        rows += _with_interval(group, "words_a_sentence", mean(mine["words"] / mine["sentences"].clip(lower=1)))
    return rows


def _richness(encoded: measures.Encoded, members: dict[str, np.ndarray]) -> list[dict]:
    """Distinct-n on blocks of equally many words, and self-similarity."""
    smallest = min(encoded.lengths()[part].sum() for part in members.values())
    # A small home has no block of full size: then fewer words, the same for all groups.
    block = int(min(measures.BLOCK_WORDS, max(1, smallest // 4)))
    weights = measures.inverse_document_frequencies(encoded)
    rows = []
    for group, part in members.items():
        rows.append(_row(group, "distinct_block_words", block))
        for n in (1, 2, 3):
            blocks = measures.distinct_ngrams(encoded, part, n, block)
            if len(blocks):
                estimate = mean(blocks)
                low, high = np.clip((estimate.low, estimate.high), 0, 1)  # a NaN stays one
                bounded = Estimate(estimate.value, low, high)
                rows += _with_interval(group, f"distinct_{n}", bounded)
        if len(part) > 1:
            # Each pair enters the means of two texts, so their spread tells half of the estimate's.
            cosines = measures.self_similarity(encoded, part, weights)
            centre, spread = cosines.mean(), 2 * Z * cosines.std(ddof=1) / np.sqrt(len(cosines))
            rows += _with_interval(group, "self_similarity", Estimate(centre, centre - spread, centre + spread))
    return rows


def _shares(values: pd.DataFrame, members: dict[str, np.ndarray], opened: dict, found: Scan) -> list[dict]:
    """Shares of texts: with the commonest opening, with the commonest name, with the word of their emotion."""
    rows = []
    for group, part in members.items():
        for n in (3, 8):
            commonest = opened[group, n].most_common(1)[0][1]
            rows += _with_interval(group, f"opening_{n}_share", proportion(commonest, len(part)))
            rows.append(_row(group, f"opening_{n}_different", len(opened[group, n])))
        names = found.capitals[group].names()
        if names:
            rows += _with_interval(group, "name_share", proportion(names[0][1], len(part)))
        stated = values["emotion_stated"].iloc[part].dropna()
        if len(stated):
            rows += _with_interval(group, "emotion_stated_share", proportion(int(stated.sum()), len(stated)))
    return rows


def _histograms(values: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for unit in ("words", "sentences", "tokens"):
        # The longest hundredth shares the last bin, or a few giants would flatten all the rest.
        top = int(values[unit].quantile(0.99)) + 1
        width = -(-top // _LENGTH_BINS)
        edges = np.arange(0, top + width, width)
        for group, part in values.groupby("group", sort=False):
            texts, _ = np.histogram(part[unit].clip(upper=edges[-1] - 1), edges)
            rows += [(group, unit, *counted) for counted in zip(edges[:-1], edges[1:], texts, strict=True)]
    return _table("lengths", rows)


def _growth(encoded: measures.Encoded, members: dict[str, np.ndarray]) -> pd.DataFrame:
    parts = [measures.vocabulary_growth(encoded, part).assign(group=group) for group, part in members.items()]
    return pd.concat(parts, ignore_index=True)[list(TABLE_COLUMNS["growth"])]


def _comparisons(values: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    found = [
        comparison.compare(values.dropna(subset=[measure]), measure, first, second, measure == "emotion_stated")
        for first, second in combinations(groups, 2)
        for measure in (*_PER_TEXT, "emotion_stated")
    ]
    return _table("comparisons", [row for row in found if row])


def _openings(opened: dict, members: dict[str, np.ndarray]) -> pd.DataFrame:
    rows = [
        (group, n, opening, texts, texts / len(members[group]))
        for (group, n), counter in opened.items()
        for opening, texts in sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP]
    ]
    return _table("openings", rows)


def _names(found: Scan, members: dict[str, np.ndarray]) -> pd.DataFrame:
    rows = [
        (group, name, texts, texts / len(part))
        for group, part in members.items()
        for name, texts in found.capitals[group].names()[:_TOP]
    ]
    return _table("names", rows)


def _emotion_words(encoded: measures.Encoded, emotions: pd.Series) -> pd.DataFrame:
    """The words that set the texts of each emotion apart from all the others', stop words left out."""
    present = [label for label in LABELS if emotions.eq(label).any()]
    if len(present) < 2:
        return _table("emotion_words", [])
    codes = emotions.map({label: i for i, label in enumerate(present)}).fillna(-1).astype(int).to_numpy()
    of_word = np.repeat(codes, encoded.lengths())
    content = ~encoded.stop_words()[encoded.ids] & (of_word >= 0)
    size = len(encoded.vocabulary)
    flat = np.bincount(of_word[content] * size + encoded.ids[content], minlength=len(present) * size)
    counts = flat.reshape(len(present), size)
    rows = []
    for label, count, z in zip(present, counts, comparison.log_odds(counts), strict=True):
        for rank, word in enumerate(np.argsort(-z, kind="stable")[:_TOP], 1):
            if z[word] > 0:
                rows.append((label, rank, encoded.vocabulary[word], count[word], z[word]))
    return _table("emotion_words", rows)


def _confusion(texts: pd.DataFrame, members: dict[str, np.ndarray], config: Config) -> pd.DataFrame:
    """Emotion asked for × emotion found, on so many texts of each group as the settings say."""
    settings = config.stats
    asked = texts["emotion"].isin(INDEX).to_numpy()
    drawn = [part[asked[part]][: settings.classified or None] for part in members.values()]
    chosen = texts.iloc[np.concatenate(drawn)]
    if chosen.empty:
        return _table("confusion", [])
    from emogap.emotion.classifier import load_classifier

    classifier = load_classifier(settings.classifier.name, revision=settings.classifier.revision)
    with progress("emotions", len(chosen), "texts") as bar:
        scores = classifier.scores(chosen["text"].tolist(), progress=bar.advance)
    found = [LABELS[best] for best in np.argmax(scores, axis=1)]
    rows = pd.DataFrame({"group": chosen["group"], "asked": chosen["emotion"], "found": found})
    return _counted(rows, "confusion")


def _agreement(confusion: pd.DataFrame) -> list[dict]:
    rows = []
    for group, part in confusion.groupby("group", sort=False):
        agreeing = int(part.loc[part["asked"] == part["found"], "texts"].sum())
        rows += _with_interval(group, "emotion_found_share", proportion(agreeing, int(part["texts"].sum())))
        rows.append(_row(group, "emotion_found_texts", int(part["texts"].sum())))
    return rows
