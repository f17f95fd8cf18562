"""Which model's answers people prefer: a blind questionnaire as one page, and what the raters' files say.

In the page, answers have meaningless names; the key, a separate file that is not given to raters, says which model each
is from. A rater's file is CSV with the columns ``rater, prompt_id, choice, reason`` (and more); ``choice`` is such a
name, or ``none`` for none of the answers.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emogap.answers.respond import conditions, read_responses
from emogap.config import Config
from emogap.emotions import LABELS
from emogap.errors import InputError, MissingInput, UsageError
from emogap.records import row_seed
from emogap.store.artefacts import sha256_text, write_json, write_text
from emogap.store.exhibits import Exhibit, Shown, show
from emogap.store.style import model_colours, use_style
from emogap.store.views import View, cells, distinct_name
from emogap.text.forms import MISSING, Form, Name, Text, check, folded, one_spelling, read_forms
from emogap.text.reading import given_file, quoted, read_json
from emogap.text.statistics import by_prompt, leader, share_interval
from emogap.train.models import study_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NONE = "none"
TEMPLATE = Path(__file__).with_name("questionnaire.html.j2")
PAGE, KEY = "questionnaire.html", "questionnaire.key.json"
COLUMNS = ("rater", "prompt_id", "choice", "reason")
CHECK_WORDS = ("lantern", "harbour", "violin", "meadow", "ladder", "walnut", "thimble", "compass")
_REGULARISATION = 0.01
"""Regularises Bradley-Terry strengths: a model that nobody chose would otherwise be infinitely weak."""


def build_questionnaire(config: Config, folder: Path, prompts: int = 30, checks: int = 3) -> Path:
    """Write the page and its key into a folder; returns the page's path.

    ``prompts``: how many, taken from the emotions in turn. ``checks``: how many attention checks, questions that name
    the answer to choose. Raises ``MissingInput`` while the answers are not there, ``UsageError`` if there are fewer
    prompts or possible checks, or if a model is called ``none`` like the choice of no answer.
    """
    responses = read_responses(config, conditions(config)[0])
    available = responses["prompt_id"].nunique()
    if not 1 <= prompts <= available:
        raise UsageError(f"{prompts} prompts cannot be asked, the answers have {available}; give --prompts")
    if not 0 <= checks <= len(CHECK_WORDS):
        raise UsageError(f"{checks} attention checks cannot be made; give --checks 0 to {len(CHECK_WORDS)}")
    models = {(model.name, model.train_seed): model.key for model in study_models(config)}
    if NONE in models.values():
        raise UsageError(f"a model of the study is called '{NONE}', as is the choice of no answer; call it otherwise")
    salt = str(row_seed(config.seed, "questionnaire", "names"))
    questions, options, right = [], {}, {}
    for prompt in choose_prompts(responses, prompts, config.seed):
        question, behind = _question(responses[responses["prompt_id"] == prompt], models, salt)
        questions.append(question)
        options |= behind
    for number in range(checks):
        question, answer = _check(number, salt)
        questions.append(question)
        right[question["id"]] = answer
    content = {"questions": questions, "none": NONE}
    identity = sha256_text(json.dumps(content, sort_keys=True))[:12]
    instructions = {question["id"]: question["instruction"] for question in questions}
    write_json(folder / KEY, {"questionnaire": identity, "options": options, "checks": right, "prompts": instructions})
    write_text(folder / PAGE, render_page(content | {"questionnaire": identity}))
    return folder / PAGE


def _question(
    answers: pd.DataFrame, models: dict[tuple[str, int], str], salt: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """A question: a prompt with every model's first answer; and the hidden name of each answer → its model."""
    first = answers[answers["sample"] == 0]
    prompt = first.iloc[0]
    options, behind = [], {}
    for row in first.itertuples():
        model = models[row.model, row.train_seed]
        name = _hidden_name(salt, row.prompt_id, model)
        behind[name] = model
        options.append({"id": name, "text": row.response or "(no answer)"})
    # Sorted by the hidden names, so that the order in the page does not reveal the models.
    options.sort(key=lambda option: option["id"])
    question = {"id": prompt["prompt_id"], "instruction": prompt["instruction"], "input": prompt["input"]}
    return question | {"options": options}, behind


def choose_prompts(responses: pd.DataFrame, count: int, seed: int) -> list[str]:
    """``count`` prompts, the emotions in turn, shuffled within each by the seed."""
    by_emotion = responses.groupby("instruction_emotion")["prompt_id"].unique()
    queues = []
    for emotion in LABELS:
        if emotion in by_emotion.index:
            queue = sorted(by_emotion[emotion])
            random.Random(row_seed(seed, emotion, "questionnaire prompts")).shuffle(queue)
            queues.append(queue)
    random.Random(row_seed(seed, "emotions", "questionnaire prompts")).shuffle(queues)
    longest = max(map(len, queues))
    in_turn = [queue[place] for place in range(longest) for queue in queues if place < len(queue)]
    return in_turn[:count]


def _hidden_name(salt: str, prompt: str, model: str) -> str:
    return sha256_text(f"{salt}\x1f{prompt}\x1f{model}")[:10]


def _check(number: int, salt: str) -> tuple[dict[str, Any], str]:
    """An attention check, a question that names its right answer; and the hidden name of that answer."""
    word = CHECK_WORDS[number]
    prompt = f"check/{number:02d}"
    options = [{"id": _hidden_name(salt, prompt, other), "text": other} for other in CHECK_WORDS]
    text = f"This question checks your attention. Please choose the answer that consists of the word “{word}”."
    return {"id": prompt, "instruction": text, "input": "", "options": options}, options[number]["id"]


def render_page(content: dict[str, Any]) -> str:
    """The questionnaire as one self-contained HTML page."""
    from jinja2 import Template

    # A "<" inside the data could end the script element early.
    data = json.dumps(content, ensure_ascii=False).replace("<", "\\u003c")
    return Template(TEMPLATE.read_text(encoding="utf-8")).render(data=data)


@dataclass(frozen=True)
class Votes:
    """What the raters said."""

    table: pd.DataFrame
    """``rater, prompt_id, choice`` (a model or ``none``), ``reason``; of attentive raters, without attention checks."""
    models: list[str]
    """All models that could be chosen."""
    inattentive: list[str]
    """Raters who missed an attention check; their answers are not counted."""
    prompts: dict[str, str]
    """Prompt → its instruction, as far as known."""


class _Vote(Form):
    """What a rater said about a prompt."""

    needs = f"a rater's file has the columns {', '.join(COLUMNS)}"

    questionnaire: str | None = None
    rater: Name
    prompt_id: Text
    choice: str
    reason: str


class _Key(Form):
    """What the names in a page mean."""

    questionnaire: str
    options: dict[str, str]
    """Name of an answer → model."""
    checks: dict[str, str]
    """Attention check → name of its right answer."""
    prompts: dict[str, str]


def read_votes(files: Sequence[Path], key_file: Path | None = None) -> Votes:
    """Read raters' files.

    Files saved by the page have a column ``questionnaire`` and need its key. In other files ``choice`` is a model's
    name. Names of raters or models that differ only in case and white space are one, in the spelling found first.
    Raises ``MissingInput`` or ``InputError`` naming file, line, rater, prompt or choice.
    """
    table = _read_files(files)
    if not len(table):
        raise InputError(f"{', '.join(map(str, files))}: no answer is in it; give the files that raters sent back")
    twice = table[table.duplicated(["rater", "prompt_id"])]
    if len(twice):
        row = twice.iloc[0]
        raise InputError(
            f"{row['where']}: rater {row['rater']} answers {quoted(row['prompt_id'])} twice; keep one of the answers"
        )
    of_page = table["questionnaire"].notna()
    if not of_page.any():
        models = sorted(set(table["choice"]) - {NONE})
        return Votes(table[list(COLUMNS)], models, [], {})
    key = _read_key(key_file)
    other = table[table["questionnaire"] != key.questionnaire]
    if len(other):
        raise InputError(f"{other.iloc[0]['where']} belongs to another questionnaire than {key_file}; give its --key")
    return _resolve(table, key)


def _read_files(files: Sequence[Path]) -> pd.DataFrame:
    """One row per answer: ``where`` it stands and the fields of a vote, raters and choices in one spelling each."""
    rows = [
        {"where": where, **vote.model_dump(), "prompt_id": vote.prompt_id.strip(), "choice": _choice(vote, where)}
        for file in files
        for where, vote in read_forms(given_file(file, "answers", "give the files that raters sent back"), _Vote)
    ]
    table = pd.DataFrame(rows, columns=["where", *_Vote.model_fields], dtype=object)
    for column in ("rater", "choice"):
        table[column] = table[column].map(one_spelling(table[column]))
    return table


def _choice(vote: _Vote, where: str) -> str:
    """What was chosen, white space folded, or ``none``. Raises ``InputError`` where nothing is said."""
    choice = " ".join(vote.choice.split())
    if folded(choice) == NONE:
        return NONE
    if folded(choice) in MISSING or not choice:
        raise InputError(
            f"{where}: rater {vote.rater} says nothing about {quoted(vote.prompt_id)} (choice {quoted(vote.choice)}); "
            f"write {NONE} for none of the answers, or take the line out"
        )
    return choice


def _read_key(key_file: Path | None) -> _Key:
    remedy = f"give the {KEY} that was written beside the page with --key"
    if key_file is None:
        raise MissingInput(f"a key is needed; {remedy}")
    return check(_Key, read_json(given_file(key_file, "key", remedy)), str(key_file), remedy)


def _resolve(table: pd.DataFrame, key: _Key) -> Votes:
    unknown = table[~table["prompt_id"].isin(key.prompts.keys())]
    if len(unknown):
        row = unknown.iloc[0]
        raise InputError(f"{row['where']}: {quoted(row['prompt_id'])} is no question of this questionnaire")
    is_check = table["prompt_id"].isin(key.checks.keys())
    names = {folded(name): name for name in (*key.options, *key.checks.values())}
    table = table.assign(choice=table["choice"].map(lambda name: names.get(folded(name), name)))
    strange = table[~is_check & ~table["choice"].isin([*key.options, NONE])]
    if len(strange):
        row = strange.iloc[0]
        raise InputError(f"{row['where']}: '{row['choice']}' is no answer to {quoted(row['prompt_id'])}")
    checks = table[is_check]
    missed = checks[checks["choice"] != checks["prompt_id"].map(key.checks)]
    inattentive = sorted(missed["rater"].unique())
    votes = table[~is_check & ~table["rater"].isin(inattentive)].reset_index(drop=True)
    votes["choice"] = votes["choice"].map(lambda name: key.options.get(name, NONE))
    prompts = {prompt: text for prompt, text in key.prompts.items() if prompt not in key.checks}
    models = list(dict.fromkeys(key.options.values()))
    return Votes(votes[list(COLUMNS)], models, inattentive, prompts)


def preference_table(votes: Votes) -> pd.DataFrame:
    """Table 4: each model's share of the choices in percent, highest first, with 95 % intervals, and Bradley-Terry
    strengths.

    Choices of ``none`` are not in the shares. The intervals treat both raters and prompts as sampled, as they treat
    seeds and prompts elsewhere (see ``statistics``).
    ``strength`` is on the log scale, mean 0 (Luce's choice model, of which Bradley-Terry is the case of two answers).
    Raises ``InputError`` if nothing was chosen.
    """
    chosen = votes.table[votes.table["choice"] != NONE]
    if chosen.empty:
        raise InputError("no attentive rater chose an answer; there is nothing to compare")
    counts = chosen["choice"].value_counts().reindex(votes.models, fill_value=0)
    places = range(len(votes.models))
    picked = chosen.assign(**{f"chose {place}": chosen["choice"] == votes.models[place] for place in places})
    chose = by_prompt(picked, [f"chose {place}" for place in places], ["prompt_id"], repeated="rater")
    low, high = share_interval(chose, by_cell=True)
    table = pd.DataFrame(
        {
            "model": votes.models,
            "share": 100 * counts.to_numpy() / len(chosen),
            "low": 100 * low,
            "high": 100 * high,
            "votes": counts.to_numpy(),
            "strength": strengths(chosen["choice"], votes.models),
        }
    )
    return table.sort_values(["votes", "model"], ascending=[False, True], ignore_index=True)


def strengths(choices: Sequence[str], models: Sequence[str]) -> np.ndarray:
    """Bradley-Terry strengths, log scale, mean 0: each choice beats all the other models' answers."""
    import choix

    place = {model: index for index, model in enumerate(models)}
    everyone = range(len(models))
    data = [(place[choice], tuple(i for i in everyone if i != place[choice])) for choice in choices]
    values = choix.ilsr_top1(len(models), data, alpha=_REGULARISATION)
    return values - values.mean()


def agreement(votes: Votes) -> float:
    """Krippendorff's alpha of the raters' choices as nominal data; ``none`` is a choice like the others.

    NaN if no prompt was answered by two raters, or if only one choice occurs.
    """
    import krippendorff

    wide = votes.table.pivot(index="rater", columns="prompt_id", values="choice")
    names = sorted(set(votes.table["choice"]))
    if len(names) < 2 or (wide.notna().sum() < 2).all():
        return float("nan")
    codes = wide.apply(lambda column: column.map({name: code for code, name in enumerate(names)})).to_numpy(dtype=float)
    return float(krippendorff.alpha(reliability_data=codes, level_of_measurement="nominal"))


def raters_table(votes: Votes) -> pd.DataFrame:
    """One row: attentive raters, those left out, prompts, choices, how many of them ``none``, Krippendorff's alpha."""
    table = votes.table
    row = {
        "raters": table["rater"].nunique(),
        "left_out": len(votes.inattentive),
        "prompts": table["prompt_id"].nunique(),
        "choices": len(table),
        "none": int((table["choice"] == NONE).sum()),
        "krippendorff_alpha": agreement(votes),
    }
    return pd.DataFrame([row])


def prompts_table(votes: Votes) -> pd.DataFrame:
    """One row per prompt: its instruction, the votes for each model, and ``none``."""
    counts = pd.crosstab(votes.table["prompt_id"], votes.table["choice"])
    counts = counts.reindex(columns=[*votes.models, NONE], fill_value=0).rename_axis(columns=None)
    counts = counts.rename(
        columns=lambda name: distinct_name(name, ("prompt_id", "instruction"), "model")
    ).reset_index()
    counts.insert(1, "instruction", counts["prompt_id"].map(votes.prompts).fillna(""))
    return counts


# --- what the report shows -------------------------------------------------------------------------------------------

ORDER = 69
SHARES = View({"": 1, "strength": 2})
_RATERS = View({"krippendorff_alpha": 3})


def show_preference(config: Config, votes: Votes) -> str:
    """Write the tables and the figure; returns the table of shares and that of the raters as text.

    Raises ``InputError`` if nothing was chosen.
    """
    shares = preference_table(votes)
    raters = raters_table(votes)
    show(config.home.evaluation, _exhibits(votes, shares, raters, list(config.bases)))
    return f"{cells(shares, SHARES).to_string(index=False)}\n\n{cells(raters, _RATERS).to_string(index=False)}"


def _exhibits(votes: Votes, shares: pd.DataFrame, raters: pd.DataFrame, bases: list[str]) -> Iterator[Shown]:
    caption = (
        "Share of the raters' choices in percent, with 95 % intervals (Wilson's) over raters and prompts, both sampled"
    )
    told = f"{caption}, and Bradley-Terry strengths."
    yield Exhibit("preference", "table", told, ORDER, published="preference", view=SHARES), shares
    told = "Who answered, and how far the raters agree (Krippendorff)."
    yield Exhibit("preference_raters", "table", told, ORDER, view=_RATERS), raters
    told = "Votes for each model, prompt by prompt."
    yield Exhibit("preference_prompts", "table", told, ORDER), prompts_table(votes)
    yield Exhibit("preference_votes", "table", "Every choice with its reason.", ORDER), votes.table
    bars = Exhibit("preference", "figure", f"{caption}.", ORDER, alt="A bar for each model, longest first.")
    yield bars, preference_shares(shares, bases)


def preference_shares(table: pd.DataFrame, bases: Sequence[str]) -> "Figure":
    """Each model's share of the choices, one bar per model, with 95 % intervals. ``table``: ``preference_table``."""
    import matplotlib.pyplot as plt

    use_style()
    colours = model_colours(table["model"], bases)
    figure, axis = plt.subplots(figsize=(6.4, 0.42 * len(table) + 1.4))
    errors = [table["share"] - table["low"], table["high"] - table["share"]]
    axis.barh(table["model"], table["share"], color=[colours[model] for model in table["model"]])
    axis.errorbar(table["share"], table["model"], xerr=errors, fmt="none", color="black", linewidth=1, capsize=2)
    ends = table["high"].fillna(table["share"])
    for place, (row, end) in enumerate(zip(table.itertuples(), ends, strict=True)):
        axis.text(end + 1, place, f"{row.share:.1f}", va="center")
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlim(0, min(110, ends.max() + 10))
    axis.set_xlabel("share of the choices, %")
    first = leader(*(table.set_index("model")[end] for end in ("low", "high")))
    said = f"{first} is preferred most often" if first else "Shares of the choices"
    axis.set_title(f"{said} ({table['votes'].sum()} choices, 95 % intervals)")
    figure.tight_layout()
    return figure
