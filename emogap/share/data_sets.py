"""The corpora, stories and rewrites of a home as data sets that others can load, each with a card made from manifests.

Each kind has a folder, which ``datasets.load_dataset`` reads and a hub takes as it is: one configuration per corpus,
method or version, one Parquet file per split, and ``README.md``.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from emogap.errors import MissingInput, reading_parquet
from emogap.paths import Home
from emogap.records import KEPT, REJECTED
from emogap.share.cards import Tables, card, model_card_of
from emogap.share.outgoing import Delivery, deliver
from emogap.store.artefacts import home_manifests, verify

_WIDENED = {"promote_options": "permissive"}
TRAIN = "train"
"""The split of rows that were kept; those that were not are in the split ``rejected``."""


Artefacts = dict[str, list[Path]]
"""Configuration (a corpus, method or version) → the artefacts whose rows it has."""


def _data_sets(home: Home) -> dict[str, Artefacts]:
    """Kind (``corpus``, ``stories`` or ``rewrites``; its folder too) → the finished artefacts of a home."""
    found: dict[str, Artefacts] = {}
    for path in home_manifests(home):
        kind, name = _place(home, path)
        if kind:
            found.setdefault(kind, {}).setdefault(name, []).append(path)
    return found


def _tables(artefacts: Artefacts) -> Tables:
    """All rows, all in one schema. Raises ``InputError`` for a table that was damaged."""
    read = {name: pa.concat_tables(map(_read, paths), **_WIDENED) for name, paths in artefacts.items()}
    schema = _unnulled(pa.unify_schemas([table.schema for table in read.values()], **_WIDENED))
    return {name: dict(_splits(_as(table, schema))) for name, table in read.items()}


def _place(home: Home, path: Path) -> tuple[str, str]:
    """(kind, configuration) of an artefact; both empty where its rows are not shared."""
    if path.parent.parent == home.stories and path.name.startswith("chunk_"):
        return "stories", path.parent.name
    if path.parent == home.corpus("x").parent and path.suffix == ".parquet":
        return "corpus", path.stem
    if path.parent == home.alpaca and path.name.endswith(".rows.parquet"):
        return "rewrites", path.name.removesuffix(".rows.parquet").removeprefix("emotion_alpaca_")
    return "", ""


def share(home: Home, folder: Path) -> tuple[Delivery, list[str]]:
    """Write the data sets of a home into a folder, with their cards, and cards of those models that have none; return
    what was done, and the commands that upload data sets and models to a model hub.

    Raises ``MissingInput`` where there is nothing to share, ``InputError`` where an artefact's bytes were changed or a
    file in the folder was not written by this command.
    """
    manifests, sets = home_manifests(home), _data_sets(home)
    models = [path for path in manifests if path.parent == home.models and path.is_dir()]
    if not sets and not models:
        raise MissingInput(f"{home.root} has no corpus, stories, rewrites or models to hand on; run a stage first")
    files: dict[str, bytes] = {}
    for kind, artefacts in sorted(sets.items()):
        for path in [path for paths in artefacts.values() for path in paths]:
            verify(path)
        tables = _tables(artefacts)
        own = {f"{name}/{split}.parquet": rows for name, splits in tables.items() for split, rows in splits.items()}
        written = {name: _parquet(rows) for name, rows in own.items()}
        files |= {f"{kind}/{name}": content for name, content in written.items()}
        files[f"{kind}/README.md"] = card(home, kind, artefacts, tables, written, manifests).encode()
    carded = {path: model_card_of(path, manifests[path]) for path in models if not (path / "README.md").exists()}
    files |= {f"models/{path.name}/README.md": text.encode() for path, text in carded.items()}
    return deliver(folder, files), list(_uploads(folder, sets, models, carded))


def _uploads(folder: Path, kinds: Iterable[str], models: Iterable[Path], carded: Mapping[Path, str]) -> Iterator[str]:
    for kind in sorted(kinds):
        yield f"hf upload OWNER/{kind} {folder / kind} --repo-type dataset --private"
    for model in models:
        yield f"hf upload OWNER/{model.name} {model} --private"
        if model in carded:
            yield f"hf upload OWNER/{model.name} {folder / 'models' / model.name / 'README.md'} README.md"


def _read(path: Path) -> pa.Table:
    with reading_parquet(path):
        return pq.read_table(path).replace_schema_metadata()


def _unnulled(schema: pa.Schema) -> pa.Schema:
    """The schema with text as the type of columns that hold only missing values, and no large lists or texts."""
    return pa.schema([column.with_type(_type(column.type)) for column in schema])


def _type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_type(kind.value_type))
    return pa.string() if pa.types.is_null(kind) or pa.types.is_large_string(kind) else kind


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    there = {name: table[name] for name in table.column_names}
    columns = [there[c.name].cast(c.type) if c.name in there else pa.nulls(len(table), c.type) for c in schema]
    return pa.table(columns, schema=schema)


def _splits(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """(name, rows) of the splits that have rows: a corpus's own ones, else ``train`` (kept rows) and ``rejected``."""
    by, names = ("split", {}) if "split" in rows.column_names else ("status", {KEPT: TRAIN, REJECTED: REJECTED})
    for value in sorted(Counter(rows[by].to_pylist()), key=lambda value: (value not in (TRAIN, KEPT), value)):
        yield names.get(value, value), rows.filter(pc.equal(rows[by], value))


def _parquet(rows: pa.Table) -> bytes:
    sink = BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()
