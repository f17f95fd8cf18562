"""Tables that describe texts: words by every definition, lengths, richness, openings, names, emotions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from emogap.config import Config
from emogap.emotions import INDEX, LABELS
from emogap.errors import UsageError
from emogap.lm.hub import resolve
from emogap.lm.loading import tokenizer_folder
from emogap.records import KEPT, row_seed
from emogap.store.artefacts import write_text
from emogap.store.exhibits import read_table
from emogap.store.progress import progress
from emogap.text import measures
from emogap.text.statistics import Estimate, Z, mean, proportion
from emogap.text.words import plain, unsuitable_words
from emogap.textstats.scan import Job, Scan, scan

Tables = dict[str, pd.DataFrame]
"""Name → table, one for each name in ``COLUMNS``; a table has no rows where there was nothing to count."""
COLUMNS = {
    # Every number that was computed, one per row.
    "statistics": ("group", "preset", "measure", "value"),
    # Histograms with equal bins for all groups; the units are words, sentences and tokens.
    "lengths": ("group", "unit", "low", "high", "texts"),
    # How many distinct words there are among the first ``words`` words.
    "growth": ("group", "words", "distinct"),
    # Differences between two groups, on the same lines or within the same sources (``measures.compare``).
    "comparisons": ("measure", "group", "minus", "basis", "n", "difference", "low", "high"),
    # The commonest openings of texts (their first 3 or 8 words), and the commonest names.
    "openings": ("group", "words", "opening", "texts", "share"),
    "names": ("group", "name", "texts", "share"),
    # The words that set the texts of an emotion apart from the texts of all other emotions.
    "emotion_words": ("emotion", "rank", "word", "count", "z"),
    # How many texts that were written for one emotion were classified as which.
    "confusion": ("group", "asked", "found", "texts"),
    # Numbers of texts, counting only those whose emotion is known.
    "counts": ("group", "source", "emotion", "texts"),
}
SUITABILITY_COLUMNS = ("measure", "of", "group", "texts", "value", "low", "high")
"""Columns of the table that says how suitable texts are for children."""
_PER_TEXT = ("words", "sentences", "tokens", "flesch_reading_ease", "flesch_kincaid_grade")
_TOP = 20
_LENGTH_BINS = 30


def write_statistics(tables: Tables, folder: Path) -> None:
    """Write each table to ``<folder>/<name>.csv``."""
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))


def read_statistics(folder: Path) -> Tables:
    """Read what ``write_statistics`` wrote. A table without rows may have no file: its exhibit was withdrawn."""
    files = {name: folder / f"{name}.csv" for name in COLUMNS}
    return {name: read_table(file) if file.exists() else _table(name, ()) for name, file in files.items()}


def describe(texts: pd.DataFrame, presets: Sequence[str], config: Config) -> Tables:
    """All statistics of texts, a frame as ``read_texts`` returns it. A group without texts gets counts of 0."""
    nothing = [
        _row(group, measure, 0, preset)
        for group in without_text(texts)
        for preset in presets
        for measure in ("texts", "total_words", "unique_words")
    ]
    if texts.empty:
        return {name: _table(name, ()) for name in COLUMNS} | {"statistics": tidy(nothing)}
    tokenizer = tokenizer_folder(resolve(config.bases[tokenizer_name(config)]).path)
    nltk_presets = tuple(name for name in presets if name.startswith("published"))
    found = scan(texts, Job(nltk_presets, tokenizer), config.stats.workers)
    encoded = measures.encode(texts["text"])
    values = texts[["group", "source", "line", "emotion"]].join(found.numbers)
    values["words"] = encoded.lengths()
    values["emotion_stated"] = measures.states_emotion(encoded, texts["emotion"].tolist()).astype(float)
    values.loc[texts["emotion"].eq(""), "emotion_stated"] = np.nan
    members = _members(texts, config.seed)
    opened = {(group, n): measures.openings(encoded, part, n) for group, part in members.items() for n in (3, 8)}
    confusion = _confusion(texts, members, config)
    numbers = [
        *word_counts(found),
        *_own_counts(encoded, members),
        *_averages(values, members),
        *_richness(encoded, members),
        *_shares(values, members, opened, found),
        *_agreement(confusion),
        *nothing,
    ]
    rows = {
        "lengths": _histograms(values),
        "growth": pd.concat([measures.vocabulary_growth(encoded, part).assign(group=g) for g, part in members.items()]),
        "comparisons": _comparisons(values, list(members)),
        "openings": _openings(opened, members),
        "names": _names(found, members),
        "emotion_words": _emotion_words(encoded, texts["emotion"]),
        "confusion": confusion,
        "counts": _counted(texts[texts["emotion"] != ""], "counts"),
    }
    return {"statistics": tidy(numbers)} | {name: _table(name, found) for name, found in rows.items()}


def without_text(texts: pd.DataFrame) -> list[str]:
    """The groups that have no text."""
    there = set(texts["group"])
    return [group for group in texts.attrs.get("groups", ()) if group not in there]


def tokenizer_name(config: Config) -> str:
    """Name of the base whose tokenizer counts tokens. Raises ``UsageError`` if the settings name none of the bases."""
    name = config.stats.tokenizer or next(iter(config.bases))
    if name not in config.bases:
        raise UsageError(
            f"setting 'stats.tokenizer' = \"{name}\" is not a base; choose among {', '.join(config.bases)}"
        )
    return name


def _table(name: str, rows: Iterable | pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(rows if isinstance(rows, pd.DataFrame) else list(rows), columns=list(COLUMNS[name]))


def _counted(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """How many texts have each combination of values in the columns of the table ``name``."""
    *values, _ = COLUMNS[name]
    return rows.groupby(values).size().rename("texts").reset_index()


def _members(texts: pd.DataFrame, run_seed: int) -> dict[str, np.ndarray]:
    """Group → positions of its texts, in an order shuffled once."""
    keys = np.asarray([row_seed(run_seed, str(position), "text order") for position in range(len(texts))])
    groups = texts["group"].to_numpy()
    order = np.argsort(keys)
    return {group: order[groups[order] == group] for group in texts["group"].unique()}


# --- numbers ---------------------------------------------------------------------------------------------------------


def _row(group: str, measure: str, value: float, preset: str = "words") -> dict:
    return {"group": group, "preset": preset, "measure": measure, "value": value}


def _with_interval(group: str, measure: str, estimate: Estimate, preset: str = "words") -> list[dict]:
    """Rows of the value and of the ends of its 95 % interval; what is unknown (NaN) gets no row."""
    ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
    return [_row(group, measure + end, value, preset) for end, value in ends.items() if not np.isnan(value)]


def _four_counts(group: str, preset: str, texts: int, total: int, unique: int) -> list[dict]:
    """Rows of the four counts that were published."""
    counts = {"texts": texts, "total_words": total, "unique_words": unique, "average_words": total / texts}
    return [_row(group, measure, value, preset) for measure, value in counts.items()]


def tidy(rows: Iterable[dict]) -> pd.DataFrame:
    """The rows as a frame in which counts are whole numbers."""
    table = _table("statistics", rows)
    whole = [int(value) if float(value).is_integer() else value for value in table["value"]]
    return table.assign(value=pd.Series(whole, dtype=object))


def word_counts(found: Scan) -> Iterator[dict]:
    """The four counts of every preset that was scanned, and the interval of the average."""
    for group, counts in found.counts.items():
        for preset, count in counts.items():
            yield from _four_counts(group, preset, count.texts, count.total, len(count.distinct))
            yield from _with_interval(group, "average_words", mean(count.lengths), preset)[1:]


def _own_counts(encoded: measures.Encoded, members: dict[str, np.ndarray]) -> Iterator[dict]:
    """The four counts of the presets ``words`` and ``content-words``, from the encoded words."""
    stop = encoded.stop_words()
    for group, part in members.items():
        ids = encoded.of(part)
        for preset, words in (("words", ids), ("content-words", ids[~stop[ids]])):
            yield from _four_counts(group, preset, len(part), len(words), len(np.unique(words)))


def _averages(values: pd.DataFrame, members: dict[str, np.ndarray]) -> Iterator[dict]:
    for group, part in members.items():
        mine = values.iloc[part]
        for measure in _PER_TEXT:
            name = measure if measure.startswith("flesch") else f"average_{measure}"
            # average_words itself is among the four counts.
            yield from _with_interval(group, name, mean(mine[measure]))[1 if measure == "words" else 0 :]
        for q in (5, 50, 95):
            yield _row(group, f"words_p{q}", mine["words"].quantile(q / 100))
        yield from _with_interval(group, "words_a_sentence", mean(mine["words"] / mine["sentences"].clip(lower=1)))


def _richness(encoded: measures.Encoded, members: dict[str, np.ndarray]) -> Iterator[dict]:
    """Distinct-n on blocks of equally many words, and self-similarity."""
    smallest = min(encoded.lengths()[part].sum() for part in members.values())
    # Blocks are smaller, alike for all groups, where the smallest group would not fill four of full size.
    block = int(min(measures.BLOCK_WORDS, max(1, smallest // 4)))
    weights = measures.inverse_document_frequencies(encoded)
    for group, part in members.items():
        yield _row(group, "distinct_block_words", block)
        for n in (1, 2, 3):
            blocks = measures.distinct_ngrams(encoded, part, n, block)
            if len(blocks):
                yield from _with_interval(group, f"distinct_{n}", _bounded(mean(blocks)))
        if len(part) > 1:
            # Each pair of texts enters two of the means, so std / sqrt(n) is only half the mean's standard error.
            cosines = measures.self_similarity(encoded, part, weights)
            centre, spread = cosines.mean(), 2 * Z * cosines.std(ddof=1) / np.sqrt(len(cosines))
            yield from _with_interval(group, "self_similarity", Estimate(centre, centre - spread, centre + spread))


def _bounded(estimate: Estimate) -> Estimate:
    """The estimate with its ends clipped to 0 and 1; a NaN stays NaN."""
    return Estimate(estimate.value, *np.clip((estimate.low, estimate.high), 0, 1))


def _shares(values: pd.DataFrame, members: dict[str, np.ndarray], opened: dict, found: Scan) -> Iterator[dict]:
    """Shares of texts: with the commonest opening, with the commonest name, with the word of their emotion."""
    for group, part in members.items():
        for n in (3, 8):
            commonest = opened[group, n].most_common(1)[0][1]
            yield from _with_interval(group, f"opening_{n}_share", proportion(commonest, len(part)))
            yield _row(group, f"opening_{n}_different", len(opened[group, n]))
        for _, texts in found.capitals[group].names()[:1]:
            yield from _with_interval(group, "name_share", proportion(texts, len(part)))
        stated = values["emotion_stated"].iloc[part].dropna()
        if len(stated):
            yield from _with_interval(group, "emotion_stated_share", proportion(int(stated.sum()), len(stated)))


def _agreement(confusion: pd.DataFrame) -> Iterator[dict]:
    for group, part in confusion.groupby("group", sort=False):
        agreeing, texts = int(part.loc[part["asked"] == part["found"], "texts"].sum()), int(part["texts"].sum())
        yield from _with_interval(group, "emotion_found_share", proportion(agreeing, texts))
        yield _row(group, "emotion_found_texts", texts)


# --- tables ----------------------------------------------------------------------------------------------------------


def _histograms(values: pd.DataFrame) -> Iterator[tuple]:
    for unit in ("words", "sentences", "tokens"):
        # The longest hundredth shares the last bin, or a few giants would flatten all the rest.
        top = int(values[unit].quantile(0.99)) + 1
        width = -(-top // _LENGTH_BINS)
        edges = np.arange(0, top + width, width)
        for group, part in values.groupby("group", sort=False):
            texts, _ = np.histogram(part[unit].clip(upper=edges[-1] - 1), edges)
            for counted in zip(edges[:-1], edges[1:], texts, strict=True):
                yield group, unit, *counted


def _comparisons(values: pd.DataFrame, groups: list[str]) -> Iterator[dict]:
    for first, second in combinations(groups, 2):
        for measure in (*_PER_TEXT, "emotion_stated"):
            known = values.dropna(subset=[measure])
            if found := measures.compare(known, measure, first, second, measure == "emotion_stated"):
                yield found


def _openings(opened: Mapping[tuple[str, int], Counter], members: dict[str, np.ndarray]) -> Iterator[tuple]:
    for (group, n), counter in opened.items():
        for opening, texts in sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP]:
            yield group, n, opening, texts, texts / len(members[group])


def _names(found: Scan, members: dict[str, np.ndarray]) -> Iterator[tuple]:
    for group, part in members.items():
        for name, texts in found.capitals[group].names()[:_TOP]:
            yield group, name, texts, texts / len(part)


def _emotion_words(encoded: measures.Encoded, emotions: pd.Series) -> Iterator[tuple]:
    """The words that set the texts of each emotion apart from all the others', stop words left out."""
    present = [label for label in LABELS if emotions.eq(label).any()]
    if len(present) < 2:
        return
    codes = emotions.map({label: i for i, label in enumerate(present)}).fillna(-1).astype(int).to_numpy()
    of_word = np.repeat(codes, encoded.lengths())
    content = ~encoded.stop_words()[encoded.ids] & (of_word >= 0)
    size = len(encoded.vocabulary)
    flat = np.bincount(of_word[content] * size + encoded.ids[content], minlength=len(present) * size)
    counts = flat.reshape(len(present), size)
    for label, count, z in zip(present, counts, measures.log_odds(counts), strict=True):
        for rank, word in enumerate(np.argsort(-z, kind="stable")[:_TOP], 1):
            if z[word] > 0:
                yield label, rank, encoded.vocabulary[word], count[word], z[word]


def _confusion(texts: pd.DataFrame, members: dict[str, np.ndarray], config: Config) -> pd.DataFrame:
    """Emotion asked for × emotion found, on up to ``stats.classified`` texts of each group (0: on all)."""
    settings = config.stats
    asked = texts["emotion"].isin(INDEX).to_numpy()
    sampled = [part[asked[part]][: settings.classified or None] for part in members.values()]
    chosen = texts.iloc[np.concatenate(sampled)]
    if chosen.empty:
        return _table("confusion", [])
    from emogap.emotion.classifier import load_classifier

    classifier = load_classifier(settings.classifier.name, revision=settings.classifier.revision)
    with progress("emotions", len(chosen), "texts") as bar:
        scores = classifier.scores(chosen["text"].tolist(), progress=bar.advance)
    found = [LABELS[best] for best in np.argmax(scores, axis=1)]
    rows = pd.DataFrame({"group": chosen["group"], "asked": chosen["emotion"], "found": found})
    return _counted(rows, "confusion")


# --- compared with what the texts were made from ---------------------------------------------------------------------


def suitability(texts: pd.DataFrame, statistics: pd.DataFrame, kind: str) -> pd.DataFrame:
    """How suitable texts are for children: readability, rare words and unsuitable words of each group's texts (``of``
    is ``kind``) and of what they were made from (``lines`` of stories, ``originals`` of rewrites; each counts once in
    a group), with the ends of 95 % intervals. Columns: ``SUITABILITY_COLUMNS``.

    ``texts``: as ``read_texts`` returns them; ``statistics``: their table of this name, which has their readability.
    """
    made_from = texts[texts["made_from"] != ""].drop_duplicates(["group", "made_from"])
    lines = made_from.assign(text=made_from["made_from"])
    known = statistics[statistics["preset"] == "words"].set_index(["group", "measure"])["value"].astype(float)
    names = [f"flesch_reading_ease{end}" for end in ("", "_low", "_high")]
    eases = {group: Estimate(*known[group].reindex(names)) for group in texts["group"].unique()}
    rows = [*_measured(texts, kind, eases), *_measured(lines, "lines" if kind == "stories" else "originals", {})]
    table = pd.DataFrame(rows, columns=list(SUITABILITY_COLUMNS))
    return table.sort_values("measure", kind="stable", ignore_index=True)


def _measured(texts: pd.DataFrame, of: str, eases: Mapping[str, Estimate]) -> Iterator[tuple]:
    """Rows of ``SUITABILITY_COLUMNS``. ``eases``: group → Flesch reading ease, where it is already known."""
    import textstat

    rare = measures.rare_shares(measures.encode(texts["text"]))
    unsuitable = np.asarray([bool(unsuitable_words(text)) for text in texts["text"]], bool)
    for group in texts["group"].unique():
        mine = texts["group"].eq(group).to_numpy()
        shares = rare[mine & ~np.isnan(rare)]
        ease = eases.get(group) or mean([textstat.flesch_reading_ease(plain(text)) for text in texts["text"][mine]])
        found = {
            "flesch_reading_ease": ease,
            "rare_word_share": _bounded(mean(shares)) if len(shares) else None,
            "unsuitable_share": proportion(int(unsuitable[mine].sum()), int(mine.sum())),
        }
        for measure, estimate in found.items():
            if estimate:
                yield measure, of, group, int(mine.sum()), estimate.value, estimate.low, estimate.high


def meaning(rewrites: pd.DataFrame) -> pd.DataFrame:
    """How well the rewrites of each version, rejected ones too, keep the meaning: version, rewrites, kept, similarity
    (mean cosine), all_facts (share that lacks no number or name of its original); the last two with 95 % intervals.

    ``rewrites``: one row per rewrite with version, status, similarity (NaN where not measured), lost (empty where
    nothing was lost).
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
