"""The corpus: accepted stories and factual text compiled to a word budget, with a log of what is in it.

Texts pass through one at a time: they wait in a file that has no name, and only what describes them is in memory.
"""

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from emogap.config import Config, Corpus
from emogap.data.babylm import nothing_emotional
from emogap.data.composition import FACTUAL, STORY, pools, seeded_order, split, take, word_budget
from emogap.data.composition_log import InputFile, composition, render
from emogap.data.wiki import form_of, read_articles, said_articles, wiki_file
from emogap.emotions import LABELS, NEUTRAL
from emogap.errors import MissingInput, UsageError
from emogap.options import chunk_numbers
from emogap.paths import MAKERS, from_root
from emogap.records import CORPUS, KEPT, ROWS_AT_ONCE, STORIES, stream_rows, to_arrow
from emogap.store.artefacts import RULE, Draft, Recipe, content_hashes, portable, write_json, write_text
from emogap.store.exhibits import Shown, drawing
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import Progress, progress
from emogap.store.views import told_apart
from emogap.text.near_duplicates import EQUALITY_RULE, LIKENESS_RULE, near_duplicates, text_key

REPEATED = "equal to an earlier document"
NEARLY_REPEATED = "nearly equal to an earlier story"
NO_TEXT = "no text"
_ARTICLES = {
    f"{RULE}articles": "2 (without headings, blank lines part them; no byte-order mark hides a heading; the level of "
    "the highest heading is theirs)"
}


def corpus(config: Config) -> Summary:
    """Compile the corpus that the settings describe.

    Raises ``MissingInput`` (chunks or wiki files), ``InputError`` (unreadable ones) and ``UsageError`` (unknown chunk,
    share of something unknown, a budget into which nothing fits).
    """
    return run("corpus", corpus_pieces(config))


def _drawn(path: Path) -> "Iterator[Shown]":
    from emogap.show.corpus_figures import composition_exhibits

    return composition_exhibits(path)


def corpus_pieces(config: Config) -> list[Piece]:
    """The one corpus, and what is seen of it.

    Raises ``MissingInput`` while a method has no chunk, or a wiki file is not there.
    """
    chunks = {f"{path.parent.name}/{path.stem}": path for path in story_chunks(config)}
    factual = factual_files(config)
    wiki = {told_apart(f"factual/{source}", chunks, "file"): path for source, path in factual.items()}
    rules = _rules(config, chunks.values(), factual.values())
    recipe = Recipe("corpus", chunks | wiki, config.flat("corpus"), rules, config.seed)
    path = config.home.corpus(config.corpus.name)
    drawn = drawing(path.parent, "corpus", "tables/composition", {"corpus": path}, partial(_drawn, path))
    return [Piece(path, recipe, make=partial(_make, config)), drawn]


def _rules(config: Config, chunks: Iterable[Path], factual: Iterable[Path]) -> dict[str, str]:
    """Rules that have changed since corpora were first made, where they can change this one."""
    likeness = LIKENESS_RULE if config.corpus.near_duplicates else {}
    equality = EQUALITY_RULE if any(map(_has_odd_line, chunks)) else {}
    return likeness | equality | (_ARTICLES if any(form_of(path).is_new for path in factual) else {})


def _has_odd_line(chunk: Path) -> bool:
    """Whether a line has no word, or one that ``text_key`` did not always read as it does now."""
    lines = {row["text"] for row in stream_rows(chunk, STORIES, ["text"])}
    return any(text_key(line) != " ".join(re.findall(r"[^\W_]+", line.lower())) for line in lines)


def story_chunks(config: Config) -> list[Path]:
    """The chunks that the settings name, method by method. Raises ``MissingInput`` or ``UsageError``."""
    found = []
    for method in config.corpus.methods:
        there = config.home.chunks(method)
        if not there and nothing_emotional(config):
            continue  # there was no line to write about
        if not there:
            raise MissingInput(
                f"babylm_augment/{method}/chunk_*.parquet not found under {config.home.root}; "
                f"run {MAKERS['babylm_augment']}, or take '{method}' out of corpus.methods"
            )
        found += [there[number] for number in _chosen(config.corpus.chunks.get(method, "all"), method, there)]
    return found


def _chosen(text: str, method: str, there: dict[int, Path]) -> list[int]:
    numbers = chunk_numbers(text, f"corpus.chunks.{method}", there)
    if missing := sorted(set(numbers) - there.keys()):
        raise MissingInput(
            f"corpus.chunks.{method} = '{text}': chunk {missing[0]} of {method} is not there; "
            f"run {MAKERS['babylm_augment']}, or name others ({len(there)} are there, {min(there)} to {max(there)})"
        )
    return numbers


def factual_files(config: Config) -> dict[str, Path]:
    """Source → wiki file. Raises ``MissingInput``, or ``UsageError`` if two files have one name."""
    files: dict[str, Path] = {}
    for name in config.corpus.factual:
        path = wiki_file(from_root(name))
        source = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
        if source in files:
            raise UsageError(f"corpus.factual names two files called '{source}'; rename one, it is their source")
        files[source] = path
    return files


@dataclass(frozen=True)
class Document:
    """A text with what is known of it. ``line`` is the source line a story was written from, else empty."""

    id: str
    kind: str
    source: str
    line_id: str
    method: str
    emotion: str
    text: str
    line: str = ""


@dataclass
class Catalogue:
    """What describes the documents; their texts lie in ``spool``, one behind the other."""

    spool: IO[bytes]
    columns: dict[str, list] = field(
        default_factory=lambda: {
            name: []
            for name in ("id", "kind", "source", "line_id", "method", "emotion", "words", "group", "start", "bytes")
        }
    )
    _seen: set[bytes] = field(default_factory=set)
    _group_of: dict[bytes, int] = field(default_factory=dict)
    _merged: list[int] = field(default_factory=list)
    _end: int = 0

    def add(self, document: Document) -> str | None:
        """Take a document in; the reason if it is not, because an equal one is in already."""
        key = _key("text", " ".join(document.text.split()))
        identity = _key("id", document.id)
        if key in self._seen or identity in self._seen:
            return REPEATED
        self._seen.update((key, identity))
        text = document.text.encode()
        self.spool.write(text)
        values = (
            document.id, document.kind, document.source, document.line_id, document.method, document.emotion,
            len(document.text.split()), self._group(document), self._end, len(text),
        )  # fmt: skip
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)
        self._end += len(text)
        return None

    def _group(self, document: Document) -> int:
        """The group of documents that must stay on one side: equal line ids, and equal lines under different ids."""
        keys = [_key("line id", document.line_id)]
        if document.line:
            keys.append(_key("line", text_key(document.line)))
        groups = {self._root(self._group_of[key]) for key in keys if key in self._group_of}
        if groups:
            group = min(groups)
            for other in groups:
                self._merged[other] = group
        else:
            group = len(self._merged)
            self._merged.append(group)
        for key in keys:
            self._group_of[key] = group
        return group

    def _root(self, group: int) -> int:
        while self._merged[group] != group:
            group = self._merged[group]
        return group

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.columns)
        frame["group"] = [self._root(group) for group in self.columns["group"]]
        return frame

    def texts(self, frame: pd.DataFrame) -> Iterator[str]:
        for start, size in zip(frame["start"].tolist(), frame["bytes"].tolist(), strict=True):
            self.spool.seek(start)
            yield self.spool.read(size).decode()


def _key(what: str, text: str) -> bytes:
    return blake2b(f"{what}\x1f{text}".encode(), digest_size=16).digest()


def _make(config: Config, draft: Draft) -> None:
    settings = config.corpus
    with tempfile.TemporaryFile(dir=draft.path.parent) as spool:
        catalogue, files = Catalogue(spool), []
        with progress("reading", len(draft.artefact.recipe.inputs), "files") as bar:
            for path in story_chunks(config):
                files.append(_read(path, STORY, stories(path), catalogue, bar, config))
            for source, path in factual_files(config).items():
                files.append(_read(path, FACTUAL, _articles(source, path, config), catalogue, bar, config))
                files[-1].form = form_of(path).name
        frame = catalogue.frame()
        if settings.near_duplicates:
            frame = _without_near_duplicates(frame, catalogue, settings.near_duplicates, files)
        # Where nothing was accepted the corpus is empty: its log says so, and the stages behind it go on without.
        shares = [] if frame.empty else pools(frame, settings.shares, _may_lack(settings, frame))
        budget = word_budget(frame, settings.words, shares)
        chosen = frame.iloc[take(frame, seeded_order(frame, config.seed), budget, shares)].copy()
        if chosen.empty and all(pool.members.any() or not pool.share for pool in shares) and not frame.empty:
            raise _nothing_fits(config, budget, int(frame["words"].min()))
        chosen["split"] = split(chosen, settings.validation_share, config.seed)
        _write(draft.path, chosen, catalogue)
        _log(config, draft, chosen, frame, files, shares, budget)


def _may_lack(settings: Corpus, frame: pd.DataFrame) -> dict[str, Collection[str]]:
    """What the settings may ask a share of though nothing of it was accepted: it is known, or cannot be known."""
    kinds = {STORY} if settings.methods else set()
    no_stories = not frame["kind"].eq(STORY).any()
    return {
        "kind": kinds | ({FACTUAL} if settings.factual else set()),
        "method": settings.methods,
        "emotion": LABELS,
        "source": settings.shares.source if no_stories else (),
    }


def _nothing_fits(config: Config, budget: int, shortest: int) -> UsageError:
    return UsageError(
        f"corpus.words = {config.corpus.words}: not one document fits into {budget:,} words and their shares; the "
        f"shortest has {shortest:,}: raise corpus.words (0 takes all), ask for other corpus.shares, or part long files "
        "into articles by headings or blank lines"
    )


def _read(path: Path, kind: str, documents, catalogue: Catalogue, bar: Progress, config: Config) -> InputFile:
    """Take the documents of one file into the catalogue; what the log says of the file."""
    inside = path.is_relative_to(config.home.root)
    file = InputFile(config.home.relative(path) if inside else portable(path), kind, content_hashes(path)[""])
    for document in documents:
        if isinstance(document, str):
            file.rejected[document] += 1
            continue
        reason = catalogue.add(document)
        if reason:
            file.rejected[reason] += 1
        else:
            file.kept += 1
            file.words += len(document.text.split())
    bar.advance()
    return file


def stories(path: Path) -> Iterator[Document | str]:
    """The accepted stories of a chunk; for a rejected one its reason. Raises ``InputError``."""
    columns = ["id", "line_id", "source", "text", "emotions", "method", "story", "status", "reason"]
    for row in stream_rows(path, STORIES, columns):
        if row["status"] != KEPT:
            yield row["reason"] or "rejected without a reason"
            continue
        emotion = row["emotions"][0] if row["emotions"] else NEUTRAL
        story = (row["story"] or "").strip()
        where = (row["source"], row["line_id"], row["method"], emotion)
        yield Document(row["id"], STORY, *where, story, row["text"]) if story else NO_TEXT


def _articles(source: str, path: Path, config: Config) -> Iterator[Document | str]:
    for number, article in enumerate(read_articles(path, config.corpus.unknown_words)):
        identifier = f"{source}:{number:06d}"
        yield Document(identifier, FACTUAL, source, identifier, "", "", article.document) if article.text else NO_TEXT


def _without_near_duplicates(
    frame: pd.DataFrame, catalogue: Catalogue, threshold: float, files: list[InputFile]
) -> pd.DataFrame:
    """The catalogue without the stories that repeat an earlier one; their files' entries say how many they were."""
    rows = frame[frame["kind"] == STORY]
    with progress("comparing", len(rows), "stories") as bar:

        def texts() -> Iterator[tuple[int, str]]:
            for position, text in zip(rows.index, catalogue.texts(rows), strict=True):
                yield position, text
                bar.advance()

        dropped = sorted(position for position, _ in near_duplicates(texts(), threshold))
    file_of = np.repeat(np.arange(len(files)), [file.kept for file in files])
    for position in dropped:
        file = files[file_of[position]]
        file.kept -= 1
        file.words -= int(frame.at[position, "words"])
        file.rejected[NEARLY_REPEATED] += 1
    return frame.drop(index=dropped)


def _write(path: Path, chosen: pd.DataFrame, catalogue: Catalogue) -> None:
    """Write the chosen documents in their order, some at a time."""
    schema = to_arrow(chosen.iloc[:0].assign(text=[])[list(CORPUS.columns)], CORPUS).schema
    with (
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
        progress("writing", len(chosen), "documents") as bar,
    ):
        for start in range(0, len(chosen), ROWS_AT_ONCE):
            part = chosen.iloc[start : start + ROWS_AT_ONCE]
            rows = part.assign(text=list(catalogue.texts(part)))[list(CORPUS.columns)]
            writer.write_table(to_arrow(rows, CORPUS))
            bar.advance(len(part))


def _lacking(config: Config, chosen: pd.DataFrame, supply: pd.DataFrame) -> list[str]:
    if chosen.empty:
        what = "accepted story and no article" if supply.empty else "text of what corpus.shares asks for"
        return [f"nothing to compile: there is no {what}"]
    if config.corpus.methods and not chosen["kind"].eq(STORY).any():
        return ["there is no story: none was accepted, or none fits"]
    return []


def _log(config, draft: Draft, chosen: pd.DataFrame, supply: pd.DataFrame, files, shares, budget: int) -> None:
    name = config.corpus.name
    log = composition(name, chosen, supply, files, shares, budget, config.corpus.words)
    log["notes"] = _lacking(config, chosen, supply) + log["notes"]
    log["sha256"] = content_hashes(draft.path)[""]
    log["seed"] = config.seed
    write_json(draft.companion(f"{name}.json"), log)
    write_text(draft.companion(f"{name}.txt"), render(log))
    draft.counts |= {
        "documents": log["totals"]["documents"],
        "words": log["totals"]["words"],
        "left out": len(supply) - len(chosen),
        "rejected": sum(sum(file.rejected.values()) for file in files),
    }
    draft.notes["articles"] = {file.name: said_articles(file.records, file.form) for file in files if file.form}
    for file, articles in draft.notes["articles"].items():
        print(f"corpus {name}: {file}: {articles}")
    for warning in log["notes"]:
        print(f"corpus {name}: {warning}")
