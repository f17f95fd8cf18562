"""What was run, told from a home's manifests and settings: stages, models, data, files. Table 1 of the study."""

from typing import Any

import pandas as pd

from emogap.config import Config
from emogap.fetch.registry import DATA_SETS
from emogap.paths import Home, from_root
from emogap.store.artefacts import home_manifests, made_fingerprint
from emogap.study.state import StageState
from emogap.train.models import study_models

HASH_CHARACTERS = 16


def read_from_outside(home: Home) -> list[tuple[str, str]]:
    """(file, beginning of its hash) of all that a home's artefacts were made from and that is none of them."""
    manifests = home_manifests(home)
    own = {made_fingerprint(manifest) for manifest in manifests.values()}
    entries = [entry for manifest in manifests.values() for entry in manifest["inputs"].values()]
    return sorted({e["path"]: e["sha256"][:HASH_CHARACTERS] for e in entries if e["sha256"] not in own}.items())


def stage_row(state: StageState) -> tuple[str, ...]:
    """Stage, state, counts, seconds of work, when it was begun."""
    counts = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in state.counts.items())
    started = readable_time(min((m["started"] for m in state.manifests), default="–"))
    seconds = f"{state.seconds:,.0f} s" if state.manifests else "–"
    said = counts or "; ".join(state.empty) or "has not run"
    return state.stage.name, state.state, said, seconds, started


def readable_time(stamp: str) -> str:
    """A manifest's time (ISO 8601, UTC) as people read it."""
    return stamp.replace("T", " ").removesuffix("+00:00")


def in_one_line(config: Config, sizes: pd.DataFrame, manifests: list[dict[str, Any]]) -> str:
    """What was run: profile, models, texts, device, time."""
    known = sizes.dropna(subset="this run")
    texts = ", ".join(f"{count:,} {what}" for what, count in zip(known[""], known["this run"], strict=True))
    bases = ", ".join(model.name for model in config.bases.values())
    measured = f"{len({model.name for model in study_models(config)})} models from {bases}"
    machines = "; ".join(sorted({manifest.get("machine", "a machine not recorded") for manifest in manifests}))
    took = f"{sum(manifest['seconds'] for manifest in manifests) / 60:,.0f} minutes of work on {machines}"
    begun = readable_time(min((manifest["started"] for manifest in manifests), default=""))[:10]
    parts = [f"Profile {config.profile}, seed {config.seed}", measured, texts, *([took, begun] if manifests else [])]
    return " · ".join(part for part in parts if part)


def models(config: Config, theirs: Config, manifests: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    """(role, model, revision or hash, model of the published set-up).

    The revision is what was resolved when the model was used; of one not used yet, what the settings say.
    """
    identities = {identity for manifest in manifests for identity in manifest["identities"].values()}

    def revision(name: str, named: str) -> str:
        found = [identity.rpartition("@")[2] for identity in identities if identity.startswith(f"{name}@")]
        return found[0] if found else named

    their_bases = ", ".join(model.name for model in theirs.bases.values())
    their_classifier = theirs.process.classifier.name
    named = [
        *(("base", model, their_bases) for model in config.bases.values()),
        ("writer", config.writer.model, theirs.writer.model.name),
        ("classifier of the lines", config.process.classifier, their_classifier),
        *(("judge of the answers", judge, their_classifier) for judge in config.sentiment.classifiers),
    ]
    return [(role, model.name, revision(model.name, model.revision), published) for role, model, published in named]


def data(config: Config, theirs: Config) -> list[tuple[str, str, str]]:
    """(role, where it is read from, data of the published set-up)."""
    published = _data_paths(theirs)
    return [
        (role, ", ".join(paths), ", ".join(dict.fromkeys(map(_data_title, published[role]))))
        for role, paths in _data_paths(config).items()
    ]


def _data_paths(config: Config) -> dict[str, list[str]]:
    return {
        "text": config.process.raw_dirs,
        "factual text": config.corpus.factual,
        "instructions and answers": [config.rewrite.records],
        "prompts": [config.respond.prompts],
        "minimal pairs": [config.blimp.data],
    }


def _data_title(path: str) -> str:
    """What the registry calls the data set that a path under ``data/raw/`` belongs to."""
    found = [known.title for known in DATA_SETS.values() if from_root(path).is_relative_to(known.destination)]
    return found[0] if found else path
