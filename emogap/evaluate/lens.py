"""Inside the models: the logit lens of a base model beside that of what was trained from it."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from emogap.artefacts import Artefact, Recipe, Summary
from emogap.config import Config
from emogap.errors import InputError, MissingInput, UsageError
from emogap.evaluate.models import StudyModel, recipe_parts, study_models
from emogap.exhibits import Exhibit, save_figure, save_table
from emogap.hub import study_model
from emogap.paths import from_root
from emogap.progress import progress
from emogap.records import LENS, read_rows, write_rows
from emogap.stages import make_each

if TYPE_CHECKING:
    import pandas as pd

MEASURES = ("probability", "entropy", "kl_to_final", "cross_entropy", "rank")


def lens_artefacts(config: Config) -> list[Artefact]:
    """One table of readings for each model that the settings name."""
    return [_artefact(config, model) for model in lens_models(config)]


def lens_models(config: Config) -> list[StudyModel]:
    """The models to look into, in the order of the settings. Raises ``UsageError`` for one that is not of the study."""
    known = {model.key: model for model in study_models(config)}
    for name in config.lens.models:
        if name not in known:
            raise UsageError(f"lens.models: '{name}' is no model of the study; choose among {', '.join(known)}")
    return [known[name] for name in config.lens.models]


def _artefact(config: Config, model: StudyModel) -> Artefact:
    parts = recipe_parts(config, model)
    recipe = Recipe(
        "lens",
        inputs=parts["inputs"] | {"sentences": from_root(config.lens.sentences)},
        settings=config.flat("lens", "new_tokens"),
        identities=parts["identities"],
    )
    return Artefact(config.home.lens / f"{model.key}.parquet", recipe)


def lens(config: Config) -> Summary:
    """Read every sentence and its continuation through each model, then draw the pictures."""
    models = {artefact.path: model for artefact, model in zip(lens_artefacts(config), lens_models(config), strict=True)}
    summary = make_each("lens", lens_artefacts(config), lambda artefact: _make(config, artefact, models[artefact.path]))
    draw(config)
    return summary


def load_sentences(config: Config) -> list[str]:
    """One sentence a line. Raises ``MissingInput`` or ``InputError``."""
    file = from_root(config.lens.sentences)
    if not file.is_file():
        raise MissingInput(f"sentences {file} not found; name a text file by lens.sentences")
    sentences = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not sentences:
        raise InputError(f"{file} has no sentence; put one on each line")
    return sentences


def _make(config: Config, artefact: Artefact, model: StudyModel) -> None:
    import pandas as pd

    from emogap.evaluate.logit_lens import LogitLens

    sentences = load_sentences(config)
    with artefact.making() as draft:
        opened = LogitLens(study_model(config, model.key))
        tables = []
        with progress(f"logit lens, {model.key}", len(sentences), "sentences") as bar:
            for number, sentence in enumerate(sentences):
                tables.append(read_sentence(opened, sentence, f"s{number}", config.lens.new_tokens))
                bar.advance()
        table = pd.concat(tables, ignore_index=True).assign(model=model.key)
        write_rows(draft.path, table, LENS)
        draft.counts["sentences"] = len(sentences)
        draft.counts["readings"] = len(table)


def read_sentence(opened: Any, sentence: str, prompt_id: str, new_tokens: int) -> "pd.DataFrame":
    """Readings of a sentence and the model's greedy continuation, in long form: a row a layer, position and measure.

    ``token`` is the layer's likeliest next token; the columns ``input`` and ``target`` say what stands at the position
    and what comes next; ``generated`` is true where the next token was written by the model.
    """
    import pandas as pd

    prompt = opened.encode(sentence)
    ids = opened.continued(prompt, new_tokens)
    texts = opened.token_texts(ids)
    following = list(pairwise(texts))
    rows = []
    for reading in opened.read(ids):
        shown, target = following[reading.position]
        shared = {"prompt_id": prompt_id, "layer": reading.layer, "position": reading.position, "token": reading.token,
                  "input": shown, "target": target, "generated": reading.position + 1 >= len(prompt)}  # fmt: skip
        rows += [shared | {"measure": measure, "value": float(getattr(reading, measure))} for measure in MEASURES]
    return pd.DataFrame(rows)


def readings(config: Config) -> "pd.DataFrame":
    """All readings of the home, one table."""
    import pandas as pd

    return pd.concat([read_rows(artefact.path, LENS) for artefact in lens_artefacts(config)], ignore_index=True)


def draw(config: Config) -> None:
    """Tables and figures from the tables of readings alone."""
    from emogap.show.lens_figures import heat_maps, layer_curves

    table = readings(config)
    folder, bases = config.home.lens, list(config.bases)
    by_layer = mean_by_layer(table)
    save_table(
        folder,
        Exhibit("by_layer", "table", "What each layer knows of the next token, averaged over all positions.", 80),
        by_layer,
    )
    save_figure(
        folder,
        Exhibit(
            "by_layer",
            "figure",
            "From layer to layer: uncertainty, distance to the model's last word, and rank of the next token "
            "(mean over positions; bands: 95 % interval of the mean over sentences).",
            81,
            alt="three line plots over the layers, a line a model",
        ),
        layer_curves(table, bases),
    )
    for number, prompt in enumerate(dict.fromkeys(table["prompt_id"])):
        save_figure(
            folder,
            Exhibit(
                f"lens_{prompt}",
                "figure",
                f"Sentence {number + 1}: rank of each generated token by layer (1: the layer's first choice). In a "
                "cell stands the layer's first choice, below the token it follows, above the token that comes next.",
                82 + number,
                alt="a heat map of layers against positions for each model",
            ),
            heat_maps(table[(table["prompt_id"] == prompt) & table["generated"]], "rank"),
        )


def mean_by_layer(table: "pd.DataFrame") -> "pd.DataFrame":
    """model, layer, and the mean over positions of each measure (the median for the rank, which is heavy-tailed)."""
    wide = table.pivot_table(
        index=["model", "prompt_id", "layer", "position"], columns="measure", values="value", sort=False
    )
    how = {measure: "median" if measure == "rank" else "mean" for measure in MEASURES}
    return wide.groupby(["model", "layer"], sort=False).agg(how).round(3).reset_index()
