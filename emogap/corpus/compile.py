"""The corpus: accepted stories and factual text compiled to a word budget, with a log of what is in it.

Texts are read one at a time into a temporary file, until it is known which are taken; memory holds only their metadata.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from emogap.babylm.process import nothing_emotional
from emogap.config import Config, Corpus
from emogap.corpus.composition import (
    FACTUAL,
    LINE,
    STORY,
    order_as,
    pools,
    pools_as,
    seeded_order,
    split,
    split_as,
    take,
    word_budget,
)
from emogap.corpus.log import InputFile, composition, composition_exhibits, corpora_exhibits, render
from emogap.corpus.wiki import layout_of, read_articles, said_articles, wiki_file
from emogap.emotions import LABELS, NEUTRAL
from emogap.errors import MissingInput, UsageError
from emogap.paths import MAKERS, chunk_numbers, from_root
from emogap.records import CORPUS, KEPT, PROCESSED, ROWS_AT_ONCE, STORIES, read_rows, stream_rows, to_arrow
from emogap.store.artefacts import RULE, Draft, Recipe, content_hashes, portable, remembered, write_json, write_text
from emogap.store.exhibits import drawing
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.store.views import distinct_name
from emogap.text.near_duplicates import EQUALITY_RULE, LIKENESS_RULE, near_duplicates, text_key

REPEATED = "equal to an earlier document"
NEARLY_REPEATED = "nearly equal to an earlier story"
NO_TEXT = "no text"
OTHER_SOURCE = "of a source without stories"
_ARTICLES = {
    f"{RULE}articles": "2 (without headings, blank lines part them; no byte-order mark hides a heading; the level of "
    "the highest heading is theirs)"
}
_AVERAGES = {f"{RULE}averages": "2 (lines are documents too)"}


def corpus(config: Config) -> Summary:
    """Compile the corpora that the settings describe.

    Raises ``MissingInput`` (chunks or wiki files), ``InputError`` (unreadable ones) and ``UsageError`` (unknown chunk,
    share of something unknown, a budget into which nothing fits).
    """
    return run("corpus", corpus_pieces(config))


def corpus_pieces(config: Config) -> Iterator[Piece]:
    """The corpora and their drawings. Take each one when those before it are made: its recipe may need them.

    Raises ``MissingInput`` while a method has no chunk, or a wiki file is not there.
    """
    paths = []
    for own in config.all_corpora:
        path = config.home.corpus(own.name)
        ending = f"_{own.name}" if paths else ""
        paths.append(path)
        yield Piece(path, _recipe(config, own), make=partial(_make, config, own))
        lead, draw = f"tables/composition{ending}", partial(composition_exhibits, path, ending)
        yield drawing(path.parent, f"corpus{ending}", lead, {"corpus": path}, draw)
    if len(paths) > 1:
        inputs = {path.stem: path for path in paths}
        yield drawing(path.parent, "corpora", "tables/corpora", inputs, partial(corpora_exhibits, paths))


def _recipe(config: Config, own: Corpus) -> Recipe:
    chunks = {f"{path.parent.name}/{path.stem}": path for path in story_chunks(config, own)}
    factual = factual_files(config, own)
    wiki = {distinct_name(f"factual/{source}", chunks, "file"): path for source, path in factual.items()}
    more = {"lines": _lines_file(config, own)} if own.lines else {}
    more |= {f"corpus {own.model_corpus}": _model_corpus(config, own)} if own.model_corpus else {}
    rules = _rules(own, chunks.values(), factual.values())
    return Recipe("corpus", chunks | wiki | more, config.flat_corpus(own), rules, config.seed)


def _lines_file(config: Config, own: Corpus) -> Path:
    return config.home.require(config.home.lines if own.lines == "all" else config.home.filtered)


def _model_corpus(config: Config, own: Corpus) -> Path:
    return config.home.require(config.home.corpus(own.model_corpus))


def _rules(own: Corpus, chunks: Iterable[Path], factual: Iterable[Path]) -> dict[str, str]:
    """The recipe's entries for rules that have changed since corpora were first made, if they can affect this one."""
    likeness = LIKENESS_RULE if own.near_duplicates else {}
    question = f"a line that text_key once read otherwise: {EQUALITY_RULE}"
    odd = any(remembered(question, chunk, partial(_has_odd_line, chunk)) for chunk in chunks)
    equality = EQUALITY_RULE if odd else {}
    averages = _AVERAGES if own.lines and own.lines != "all" else {}
    return likeness | equality | averages | (_ARTICLES if any(layout_of(path).is_new for path in factual) else {})


def _has_odd_line(chunk: Path) -> bool:
    """Whether a line has another ``text_key`` now than under the first revision of that rule."""
    lines = {row["text"] for row in stream_rows(chunk, STORIES, ["text"])}
    return any(text_key(line) != " ".join(re.findall(r"[^\W_]+", line.lower())) for line in lines)


def story_chunks(config: Config, own: Corpus | None = None) -> list[Path]:
    """The chunks that the settings of a corpus name, method by method; none for a corpus of lines. Raises
    ``MissingInput`` or ``UsageError``."""
    own = own or config.corpus
    found = []
    for method in [] if own.lines else own.methods:
        there = config.home.chunks(method)
        if not there and nothing_emotional(config):
            continue  # there was no line to write about
        if not there:
            raise MissingInput(
                f"babylm_augment/{method}/chunk_*.parquet not found under {config.home.root}; "
                f"run {MAKERS['babylm_augment']}, or take '{method}' out of corpus.methods"
            )
        found += [there[number] for number in _chosen(own.chunks.get(method, "all"), method, there)]
    return found


def _chosen(text: str, method: str, there: dict[int, Path]) -> list[int]:
    numbers = chunk_numbers(text, f"corpus.chunks.{method}", there)
    if missing := sorted(set(numbers) - there.keys()):
        raise MissingInput(
            f"corpus.chunks.{method} = '{text}': chunk {missing[0]} of {method} is not there; "
            f"run {MAKERS['babylm_augment']}, or name others ({len(there)} are there, {min(there)} to {max(there)})"
        )
    return numbers


def factual_files(config: Config, own: Corpus | None = None) -> dict[str, Path]:
    """Source → wiki file. Raises ``MissingInput``, or ``UsageError`` if two files have one name."""
    files: dict[str, Path] = {}
    for name in (own or config.corpus).factual:
        path = wiki_file(from_root(name))
        source = Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
        if source in files:
            raise UsageError(f"corpus.factual names two files called '{source}'; rename one, it is their source")
        files[source] = path
    return files


class Document(NamedTuple):
    """A text with its metadata. ``line``: the line a story is written from, a line's own text, empty for an article."""

    id: str
    kind: str
    source: str
    line_id: str
    method: str
    emotion: str
    text: str
    line: str = ""


class Catalogue:
    """The documents' metadata; their texts are appended to the file ``spool``."""

    def __init__(self, spool: IO[bytes]):
        self.spool = spool
        self._rows: list[tuple] = []
        self._seen: set[bytes] = set()

    def add(self, document: Document, file: int) -> str | None:
        """Add a document of input file number ``file``; if an equal one is there already, only return the reason."""
        keys = {_of_text(document), _key("id", document.id)}
        if keys & self._seen:
            return REPEATED
        self._seen |= keys
        start, text = self.spool.tell(), document.text.encode()
        self.spool.write(text)
        line = _key("line", text_key(document.line)) if document.line else _key("line id", document.line_id)
        *known, _, _ = document
        self._rows.append((*known, len(document.text.split()), line, file, start, len(text)))
        return None

    def frame(self) -> pd.DataFrame:
        """One row for each document, with the columns that ``composition`` works on."""
        columns = [*Document._fields[:-2], "words", "line", "file", "start", "bytes"]
        frame = pd.DataFrame(self._rows, columns=columns)
        return frame.assign(group=_groups(frame["line_id"], frame["line"]))

    def texts(self, frame: pd.DataFrame) -> Iterator[str]:
        for start, size in zip(frame["start"].tolist(), frame["bytes"].tolist(), strict=True):
            self.spool.seek(start)
            yield self.spool.read(size).decode()


def _of_text(document: Document) -> bytes:
    """A key of a document's text that is equal for texts with equal words."""
    return _key("text", " ".join(document.text.split()))


def _key(what: str, text: str) -> bytes:
    return blake2b(f"{what}\x1f{text}".encode(), digest_size=16).digest()


def _groups(line_ids: pd.Series, lines: pd.Series) -> np.ndarray:
    """For each document the number of its group, which the split keeps on one side. Documents with equal line ids or
    equal lines are in one group, also if only further documents connect them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    (ids, known_ids), (texts, known_texts) = pd.factorize(line_ids), pd.factorize(lines)
    nodes = len(known_ids) + len(known_texts)
    ties = coo_array((np.ones(len(ids), bool), (ids, len(known_ids) + texts)), (nodes, nodes))
    return connected_components(ties, directed=False)[1][ids] if nodes else ids


def _make(config: Config, settings: Corpus, draft: Draft) -> None:
    model = None
    if settings.model_corpus:
        columns = ["id", "kind", "source", "line_id", "split", "words"]
        model = read_rows(_model_corpus(config, settings), CORPUS, columns)
    with tempfile.TemporaryFile(dir=draft.path.parent) as spool:
        catalogue, files = Catalogue(spool), [*_input_files(config, settings, model)]
        with progress("reading", len(files), "files") as bar:
            for number, (file, documents) in enumerate(files):
                for document in documents:
                    reason = document if isinstance(document, str) else catalogue.add(document, number)
                    file.rejected.update([reason] if reason else [])
                bar.advance()
        files, frame = [file for file, _ in files], catalogue.frame()
        if settings.near_duplicates:
            frame = _without_near_duplicates(frame, catalogue, settings.near_duplicates, files)
        for number, part in frame.groupby("file"):
            files[number].kept, files[number].words = len(part), int(part["words"].sum())
        # Where nothing was accepted the corpus is empty: its log says so, and later stages go on without it.
        if model is None:
            shares = [] if frame.empty else pools(frame, settings.shares, _may_lack(settings, frame))
            budget, order = word_budget(frame, settings.words, shares), seeded_order(frame, config.seed)
        else:
            (budget, shares), order = pools_as(frame, model), order_as(frame, model, config.seed)
        chosen = frame.iloc[take(frame, order, budget, shares)].copy()
        if chosen.empty and all(pool.members.any() or not pool.share for pool in shares) and not frame.empty and budget:
            raise _nothing_fits(settings, budget, int(frame["words"].min()))
        apart = split if model is None else partial(split_as, model=model)
        chosen["split"] = apart(chosen, share=settings.validation_share, run_seed=config.seed)
        _write(draft.path, chosen, catalogue)
        _log(config, settings, draft, chosen, frame, files, shares, budget)


def _may_lack(settings: Corpus, frame: pd.DataFrame) -> dict[str, Collection[str]]:
    """Dimension → values that a share may be asked of although no text of them was accepted: those that the settings
    name, and, where there is no story at all, any source."""
    kinds = {STORY} if settings.methods else set()
    no_stories = not frame["kind"].eq(STORY).any()
    return {
        "kind": kinds | ({FACTUAL} if settings.factual else set()),
        "method": settings.methods,
        "emotion": LABELS,
        "source": settings.shares.source if no_stories else (),
    }


def _nothing_fits(own: Corpus, budget: int, shortest: int) -> UsageError:
    return UsageError(
        f"corpus.words = {own.words}: not one document fits into {budget:,} words and their shares; the "
        f"shortest has {shortest:,}: raise corpus.words (0 takes all), ask for other corpus.shares, or part long files "
        "into articles by headings or blank lines"
    )


def _input_files(
    config: Config, own: Corpus, model: pd.DataFrame | None
) -> Iterator[tuple[InputFile, Iterator[Document | str]]]:
    """Each file's entry in the log, and its documents; in place of a rejected document comes the reason."""
    for path in story_chunks(config, own):
        yield _input_file(config, path, STORY), stories(path)
    if own.lines:
        every, path = own.lines == "all", _lines_file(config, own)
        sources = None if model is None or every else set(model.loc[model["kind"] != FACTUAL, "source"])
        lines = lines_of(path, sources, every)
        yield _input_file(config, path, LINE), together(lines, model) if own.lines == "together" else lines
    for source, path in factual_files(config, own).items():
        yield _input_file(config, path, FACTUAL, layout_of(path).name), _articles(source, path, own)


def _input_file(config: Config, path: Path, kind: str, form: str = "") -> InputFile:
    inside = path.is_relative_to(config.home.root)
    name = config.home.relative(path) if inside else portable(path)
    return InputFile(name, kind, content_hashes(path)[""], form=form)


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


def lines_of(path: Path, sources: Collection[str] | None, every: bool = False) -> Iterator[Document | str]:
    """The emotional lines as documents, or, with ``every``, all lines that processing kept, which have no emotion yet.
    ``sources``: for a line of any other source comes a reason; None: all sources."""
    for row in stream_rows(path, PROCESSED, ["id", "source", "text", *(() if every else ("emotion",))]):
        if sources is None or row["source"] in sources:
            emotion = row.get("emotion", "")
            yield Document(row["id"], LINE, row["source"], row["id"], "", emotion, row["text"], row["text"])
        else:
            yield OTHER_SOURCE


def together(lines: Iterable[Document | str], model: pd.DataFrame) -> Iterator[Document | str]:
    """Consecutive lines of a source joined to documents about as long as the stories of another corpus (``model``:
    ``kind, line_id, split, words``). Equal lines are used once; lines on different sides of its split stay apart."""
    wanted = model.loc[model["kind"] != FACTUAL, "words"].mean()
    sides = dict(zip(model["line_id"], model["split"], strict=True))
    seen: set[bytes] = set()
    begun: dict[tuple[str, str | None], list[Document]] = defaultdict(list)
    for line in lines:
        if isinstance(line, str):
            yield line
        elif (key := _of_text(line)) in seen:
            yield REPEATED
        else:
            seen.add(key)
            parts = begun[line.source, sides.get(line.line_id)]
            parts.append(line)
            if sum(len(part.text.split()) for part in parts) >= wanted:
                yield _joined(parts)
                parts.clear()
    yield from (_joined(parts) for parts in begun.values() if parts)


def _joined(lines: list[Document]) -> Document:
    text = "\n".join(line.text for line in lines)
    return lines[0]._replace(text=text, line=text)


def _articles(source: str, path: Path, own: Corpus) -> Iterator[Document | str]:
    for number, article in enumerate(read_articles(path, own.unknown_words)):
        identifier = f"{source}:{number:06d}"
        yield Document(identifier, FACTUAL, source, identifier, "", "", article.document) if article.text else NO_TEXT


def _without_near_duplicates(
    frame: pd.DataFrame, catalogue: Catalogue, threshold: float, files: list[InputFile]
) -> pd.DataFrame:
    """The catalogue without the stories that repeat an earlier one; the log entries of their files count them."""
    rows = frame[frame["kind"] == STORY]
    with progress("comparing", len(rows), "stories") as bar:

        def texts() -> Iterator[tuple[int, str]]:
            for position, text in zip(rows.index, catalogue.texts(rows), strict=True):
                yield position, text
                bar.advance()

        dropped = [position for position, _ in near_duplicates(texts(), threshold)]
    for file in frame.loc[dropped, "file"]:
        files[file].rejected[NEARLY_REPEATED] += 1
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


def _lacking(own: Corpus, chosen: pd.DataFrame, supply: pd.DataFrame) -> list[str]:
    if chosen.empty:
        what = "accepted story and no article" if supply.empty else "text of what corpus.shares asks for"
        return [f"nothing to compile: there is no {what}"]
    if own.methods and not own.lines and not chosen["kind"].eq(STORY).any():
        return ["there is no story: none was accepted, or none fits"]
    return []


def _log(
    config: Config, own: Corpus, draft: Draft, chosen: pd.DataFrame, supply: pd.DataFrame, files, shares, budget: int
) -> None:
    name = own.name
    log = composition(name, chosen, supply, files, shares, budget, budget if own.model_corpus else own.words)
    if own.model_corpus:
        log["budget"]["as"] = own.model_corpus
    log["notes"] = _lacking(own, chosen, supply) + log["notes"]
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
