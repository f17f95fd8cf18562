"""Cards of data sets and models: what each is and was made from, with licences, gates, settings and hashes."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogap.config import HubModel
from emogap.controls import PLAIN
from emogap.errors import EmogapError
from emogap.fetch.registry import DATA_SETS
from emogap.paths import ROOT, Home, from_root
from emogap.store.artefacts import made_fingerprint
from emogap.train.model_folder import model_card, read_record

if TYPE_CHECKING:
    import pyarrow as pa

Tables = Mapping[str, Mapping[str, "pa.Table"]]
"""Configuration → split → rows."""
Manifests = Mapping[Path, Mapping[str, Any]]
UNKNOWN = "unknown"
SAMPLE = "MIT (written for the project Emogap)"
WHAT = {
    "corpus": (
        "A small corpus to train a language model on",
        "Documents (`text`): stories that a language model wrote about emotional lines, and factual text (`kind`). "
        "`line_id`, `method` and `emotion` say where a story comes from.",
    ),
    "stories": (
        "Emotional stories about lines of text, written by a language model",
        "`story` is what a language model wrote about the line `text`, towards `emotions`; `reply` is its raw reply. "
        "The split `train` has the stories that passed all gates, `rejected` the others with the first reason.",
    ),
    "rewrites": (
        "Answers to instructions, rewritten towards an emotion by a language model",
        "`output` is `original_output` rewritten towards `emotion`; `reply` is the model's raw reply. The split "
        "`train` has the rewrites that passed all gates, `rejected` the others with the first reason.",
    ),
}
"""Kind → title, and what a row is."""


def card(
    home: Home,
    kind: str,
    artefacts: Mapping[str, list[Path]],
    tables: Tables,
    files: Mapping[str, bytes],
    manifests: Manifests,
) -> str:
    """The card of a data set. ``artefacts``: configuration → paths; ``files``: name in its folder → content."""
    own = {path: manifests[path] for paths in artefacts.values() for path in paths}
    sources, models = _sources(own, manifests), _models(own, manifests)
    title, rows = WHAT[kind]
    settings = _settings(own)
    gates = {key: value for key, value in settings.items() if ".gates." in key}
    hashes = [(name, hashlib.sha256(content).hexdigest()) for name, content in files.items()]
    parts = [
        _head(tables, title, [row[-1] for row in [*sources, *models]]),
        f"# {title}",
        f"{rows} Made by Emogap in the run `{home.root.name}`.",
        _table(["configuration", "split", "rows", "words"], _sizes(tables)),
        "## From what",
        _table(["file", "sha256", "licence"], sources),
        _table(["model", "for", "licence"], models),
        "Rows hold or derive from the texts above and keep their terms, also where a column repeats them as they were. "
        f"*{UNKNOWN}*: the project knows no licence; ask whoever the file or model comes from.",
    ]
    if gates:
        outcomes = _table(["configuration", "outcome", "rows"], _outcomes(tables))
        parts += ["## Gates", _table(["gate", "value"], gates.items()), outcomes]
    parts += [
        "## Settings, prompts, seed",
        _table(["name", "value"], [pair for pair in settings.items() if pair[0] not in gates]),
        "## Hashes",
        _table(["file", "sha256"], hashes),
        _table(["artefact of the run", "sha256", "begun", "code"], _made(home, own)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(tables: Tables, title: str, licences: list[str]) -> str:
    from huggingface_hub import DatasetCardData

    configs: list[dict[str, Any]] = [
        {"config_name": name, "data_files": [{"split": s, "path": f"{name}/{s}.parquet"} for s in splits]}
        for name, splits in tables.items()
    ]
    next((one for one in configs if one["config_name"] != PLAIN), configs[0])["default"] = True
    licence = "mit" if set(licences) == {SAMPLE} else UNKNOWN if UNKNOWN in licences else "other"
    named = {"pretty_name": title, "language": "en", "license": licence, "tags": ["emotion", "emogap"]}
    return f"---\n{DatasetCardData(**named, configs=configs).to_yaml()}\n---"


def _sizes(tables: Tables) -> Iterator[tuple[Any, ...]]:
    for name, splits in tables.items():
        for split, rows in splits.items():
            known = "words" in rows.column_names and not rows["words"].null_count
            yield name, split, f"{len(rows):,}", f"{sum(rows['words'].to_pylist()):,}" if known else UNKNOWN


def _outcomes(tables: Tables) -> Iterator[tuple[Any, ...]]:
    for name, splits in tables.items():
        found = Counter()
        for rows in splits.values():
            found.update(reason or "kept" for reason in rows["reason"].to_pylist())
        yield from ((name, outcome, f"{count:,}") for outcome, count in found.most_common())


def _settings(own: Manifests) -> dict[str, str]:
    """Setting, prompt or seed → its values in these artefacts, with semicolons between different ones."""
    found: dict[str, dict[str, None]] = {}
    for manifest in own.values():
        for key, value in {**manifest["settings"], **manifest["identities"], "seed": manifest["seed"]}.items():
            found.setdefault(key, {})[_said(value)] = None
    return {key: "; ".join(values) for key, values in found.items()}


def _said(value: Any) -> str:
    """A setting's value as a text; of an absolute path only the last part, since strangers read the card."""
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, str):
        return Path(value).name if Path(value).is_absolute() else value
    return json.dumps(value, ensure_ascii=False)


def _sources(own: Manifests, manifests: Manifests) -> list[tuple[str, str, str]]:
    """(file, sha256, licence) of all files from outside the home that these artefacts, step by step, were made from."""
    entries = [entry for manifest in _above(own, manifests) for entry in manifest["inputs"].values()]
    made = {made_fingerprint(manifest) for manifest in manifests.values()}
    found = {entry["path"]: entry["sha256"] for entry in entries if entry["sha256"] not in made}
    return [(_said(path), sha256, licence_of(path)) for path, sha256 in sorted(found.items())]


def _above(own: Manifests, manifests: Manifests) -> list[Mapping[str, Any]]:
    """The manifests of these artefacts and of all artefacts that they were made from, step by step."""
    by_hash = {made_fingerprint(manifest): path for path, manifest in manifests.items()}
    left, found = list(own), {}
    while left:
        path = left.pop()
        found[path] = manifests[path]
        above = [by_hash.get(entry["sha256"]) for entry in manifests[path]["inputs"].values()]
        left += [one for one in above if one and one not in found]
    return list(found.values())


def _models(own: Manifests, manifests: Manifests) -> list[tuple[str, str, str]]:
    """(model, what it was used for, licence) of the models that wrote or chose the texts."""
    roles = {"writer.model": "writing", "process.classifier": "choosing lines, scoring texts"}
    found = {
        (manifest["identities"][key], role)
        for manifest in _above(own, manifests)
        for key, role in roles.items()
        if key in manifest["identities"]
    }
    return [(_said(identity), role, model_licence(identity)) for identity, role in sorted(found)]


def licence_of(path: str) -> str:
    """The licence of a file that a run read, as far as the project knows."""
    file = from_root(path)
    if file.is_relative_to(ROOT / "data" / "sample"):
        return SAMPLE
    return next((known.licence for known in DATA_SETS.values() if file.is_relative_to(known.destination)), UNKNOWN)


def model_licence(identity: str) -> str:
    """The licence of a model, by its identity in manifests."""
    from huggingface_hub import metadata_load

    from emogap.trial.open_writer import licence

    name, _, revision = identity.partition("@")
    shipped = ROOT / "emogap" / "models" / name / "README.md"
    if shipped.exists():
        return (metadata_load(shipped) or {}).get("license", UNKNOWN)
    try:
        said = licence(HubModel(name=name, revision="main" if revision.startswith("sha256:") else revision or "main"))
    except EmogapError:
        return UNKNOWN
    return UNKNOWN if said.startswith(("unknown", "not known")) else said


def _made(home: Home, own: Manifests) -> Iterator[tuple[str, ...]]:
    for path, manifest in own.items():
        begun, commit = manifest.get("started", UNKNOWN), (manifest.get("git_commit") or UNKNOWN)[:12]
        yield home.relative(path), made_fingerprint(manifest), begun, commit


def _table(head: list[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def model_card_of(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The card of a trained model that has none, from the record of its training, else from its manifest alone."""
    record = read_record(folder)
    if record:
        return model_card(record, (folder / "adapter_config.json").exists())
    settings = _table(["setting", "value"], _settings({folder: manifest}).items())
    return f"# {folder.name}\n\nNo record of its training lies in its folder; licence {UNKNOWN}.\n\n{settings}\n"
