"""A grid: every template with every sampling, over one fixed sample of lines or records.

A line has the same seed in every cell, so that cells can be compared line by line. The replies are stored with
those of previews: a grid that was killed can be resumed, and a larger one generates only what is new.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emogap.config import Config, Sampling
from emogap.controls import PLAIN
from emogap.errors import UsageError
from emogap.lm.hub import identify
from emogap.store.artefacts import Draft, Recipe, fingerprint
from emogap.store.pieces import Piece, Summary, run
from emogap.store.progress import progress
from emogap.store.views import distinct_name
from emogap.stories.gating import gating_recipe
from emogap.stories.rows import tallied
from emogap.stories.texts import Prompting, Texts
from emogap.trial.preview import sampling_of, texts_of, try_out

MIN_LINES, MAX_LINES = 2, 5000
"""A single line gives no interval; self-similarity compares all pairs of at most 5,000 replies."""


def make_grid(
    config: Config, stage: str, templates: Sequence[str], vary: Mapping[str, Sequence[Any]], lines: int
) -> Summary:
    """Ask about ``lines`` lines or records in every cell and write all rows, one for each line and cell.

    ``templates``: names of methods or versions, or paths of template files; none: all that the stage has but ``m0``.
    ``vary``: parameter of the sampling → its values; the others stay as the stage has them.

    The table has the stage's columns and before them ``template``, ``setting`` (such as ``temperature=0.3``) and
    ``source_id``. Raises ``UsageError``, ``MissingInput`` and ``ModelError``.
    """
    if not MIN_LINES <= lines <= MAX_LINES:
        raise UsageError(f"--lines {lines}: a grid compares over lines, give {MIN_LINES} to {MAX_LINES:,}")
    texts = texts_of(config, stage)
    promptings = _promptings(texts, templates or [name for name in texts.settings.templates if name != PLAIN], vary)
    sources = texts.sample(lines)
    if len(sources) < lines:
        raise UsageError(f"--lines {lines}: there are only {len(sources)}; give more text or ask for fewer")

    def make(draft: Draft) -> None:
        rows, table = [], []
        with progress("grid", lines * len(promptings), "replies") as bar:
            for setting, prompting in promptings:
                trial = try_out(texts, sources, prompting, bar)
                rows += trial.rows
                table += [
                    {"template": prompting.name, "setting": setting, "source_id": source.id, **row.columns()}
                    for source, row in zip(sources, trial.rows, strict=True)
                ]
        pq.write_table(pa.Table.from_pandas(pd.DataFrame(table), preserve_index=False), draft.path, compression="zstd")
        draft.counts |= {"cells": len(promptings), "lines": lines, **tallied(rows)}

    recipe = _recipe(texts, promptings, lines)
    return run("grid", [Piece(grid_path(config, stage), recipe, keep_superseded=True, make=make)])


def parse_vary(given: Sequence[str]) -> dict[str, list[float]]:
    """``["temperature=0.3,0.9"]`` → parameter → values. Raises ``UsageError``."""
    vary = {}
    for text in given:
        name, _, values = text.partition("=")
        try:
            vary[name.strip()] = [int(v) if v.strip().isdigit() else float(v) for v in values.split(",")]
        except ValueError:
            raise UsageError(f"--vary {text}: give a parameter and numbers, such as temperature=0.3,0.9") from None
    return vary


def grid_path(config: Config, stage: str) -> Path:
    """Where the rows of a stage's grid lie."""
    return {"augment": config.home.story_grid, "rewrite": config.home.rewrite_grid}[stage]


def _promptings(texts: Texts, names: Sequence[str], vary: Mapping[str, Sequence[Any]]) -> list[tuple[str, Prompting]]:
    """(name of the setting, prompting) of every cell, template by template."""
    settings = []
    for values in _combinations(vary):
        setting = ", ".join(f"{name}={value:g}" for name, value in values.items()) or "as set"
        settings.append((setting, sampling_of(values, texts.settings.sampling)))
    # A template file is called by its name without extension, apart from the methods as in a preview.
    methods, templates = [name for name in names if name in texts.settings.templates], {}
    for given in dict.fromkeys(names):
        name = given if given in methods else distinct_name(Path(given).stem, methods, "own")
        if name in templates:
            raise UsageError(f"--templates {','.join(names)}: two would be called '{name}'; give a file another name")
        templates[name] = texts.template(given)
    return [
        (setting, Prompting(name, template, sampling))
        for name, template in templates.items()
        for setting, sampling in settings
    ]


def _combinations(vary: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    for parameter in vary:
        if parameter not in Sampling.model_fields:
            raise UsageError(f"--vary {parameter}: no such parameter; choose among {', '.join(Sampling.model_fields)}")
    return [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]


def _recipe(texts: Texts, promptings: Sequence[tuple[str, Prompting]], lines: int) -> Recipe:
    config, stage, (inputs, identities) = texts.config, texts.stage, texts.made_from()
    gates, gate_identities = gating_recipe(config, stage, texts.gates)
    return Recipe(
        stage=f"grid {stage}",
        inputs=inputs,
        settings={
            "grid.lines": lines,
            "grid.cells": [
                [prompting.name, setting, prompting.sampling.model_dump()] for setting, prompting in promptings
            ],
            **gates,
            **config.flat_writer("engine", "dtype", "quantization", "batch_size"),
            **({"rewrite.emotions": config.rewrite.emotions} if stage == "rewrite" else {}),
        },
        identities={
            "writer.model": identify(config.writer.model),
            "examples": fingerprint(texts.examples_file),
            **{f"prompt {prompting.name}": prompting.template.sha256 for _, prompting in promptings},
            **identities,
            **gate_identities,
        },
        seed=config.seed,
    )
