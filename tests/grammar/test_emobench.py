"""Questions on emotions: what is read and refused, how they are put, which choice is taken, chance and places."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_models import save_tiny_gpt2

from emogap.commands.cli import main
from emogap.errors import InputError
from emogap.grammar import emobench_tables
from emogap.grammar.emobench import EMOBENCH, Question, listing, load_questions, load_wording, question_cases
from emogap.grammar.emobench_tables import emobench_drawing, emobench_exhibits
from emogap.grammar.tasks import Measured, score_cases
from emogap.lm.sentence_scores import Scored
from emogap.paths import from_root
from emogap.store.exhibits import exhibits, read_table, show, shown_table
from emogap.store.pieces import run
from emogap.train.models import TUNED, Comparison

SAMPLE = from_root("data/sample/emobench")
EA = {
    "qid": "1", "language": "en", "category": "Self", "question type": "Action", "scenario": "It rains.",
    "subject": "Ann", "choices": ["wait", "walk on", "run", "go home"], "label": "run",
}  # fmt: skip
QUESTION = Question("EA", "1", "action", "Self", "It rains.", "Ann", ("wait", "walk on", "run", "go home"), 2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    return save_tiny_gpt2(tmp_path_factory.mktemp("models") / "tiny", positions=1024)


# --- reading and asking ----------------------------------------------------------------------------------------------


def test_the_sample_and_the_real_questions_are_read(real_data):
    sample = load_questions(SAMPLE)
    assert [sum(q.task == task for q in sample) for task in ("EA", "EU-emotion", "EU-cause")] == [8, 8, 8]
    for language in ("en", "zh"):
        questions = load_questions(real_data / "emobench", language)
        assert len(questions) == 600
        assert {len(q.choices) for q in questions if q.task == "EU-emotion"} == {6}
        wording = load_wording(language)
        for question in questions:
            assert question.choices[question.right] in wording.render(question, 1)
    assert len(load_questions(real_data / "emobench", items=3)) == 9


def test_the_sample_is_the_projects_own(real_data):
    theirs = {q.scenario for q in load_questions(real_data / "emobench")}
    assert not theirs & {q.scenario for q in load_questions(SAMPLE)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "fly"}, "label 'fly' is none of the choices"),
        ({"choices": ["run", "run"]}, "choices must be two or more different texts"),
        ({"choices": ["run"]}, "choices must be two or more different texts"),
        ({"question type": "Thought"}, "question type 'thought' is unknown"),
        ({"scenario": ""}, "'scenario' is '', empty"),
        ({"scenario": None}, "'scenario' is null, not a text"),
        ({"choices": "run"}, "'choices' is 'run', not a list"),
        ({"choices": ["run", 5]}, "'choices', item 2 is 5, not a text"),
        ({"choices": ["run", "run "]}, "choices must be two or more different texts"),
        ({"label": 2}, "'label' is 2, not a text"),
        ({"qid": None}, "'qid'"),
        ({"language": None}, "'language' is null, not a text"),
        ({"language": "fr"}, "is in the language 'en'"),
    ],
)
def test_a_bad_record_is_named_with_its_line(change, message, tmp_path, gpt2, capsys):
    (tmp_path / "EA.jsonl").write_text(json.dumps(EA | change) + "\n")
    assert main(["emobench", "--model", str(gpt2), "--data", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "EA.jsonl" in err
    assert err.count("\n") == 1


def test_an_id_stands_once_in_a_language(tmp_path):
    file = tmp_path / "EA.jsonl"
    file.write_text("".join(json.dumps(EA | change) + "\n" for change in ({}, {"language": "zh"}, {"qid": 1})))
    with pytest.raises(InputError, match=r"EA.jsonl, line 3: the qid 1 stands in .*EA.jsonl, line 1 already"):
        load_questions(tmp_path)
    file.write_text("".join(json.dumps(EA | change) + "\n" for change in ({}, {"language": "zh"}, {"qid": 2})))
    assert [question.qid for question in load_questions(tmp_path)] == ["1", "2"]
    # What no question of this language comes from is looked at too, before anything is scored.
    file.write_text(json.dumps(EA) + "\n" + json.dumps(EA | {"language": "zh", "label": "fly"}) + "\n")
    with pytest.raises(InputError, match="line 2: label 'fly' is none of the choices"):
        load_questions(tmp_path, items=1)


def test_without_data_the_command_says_where_to_get_it(tmp_path, gpt2, capsys):
    assert main(["emobench", "--model", str(gpt2), "--data", str(tmp_path)]) == 1
    assert "emogap fetch emobench" in capsys.readouterr().err


def test_a_question_is_asked_with_and_without_its_choices():
    wording = load_wording("en")
    listed = wording.render(QUESTION, 1)
    assert listed.startswith("Situation: It rains.\n")
    assert listed.endswith("- walk on\n- run\n- go home\n- wait\nAnswer:")
    assert "Ann" in listed
    assert "wait" not in wording.render(QUESTION, None)
    assert wording.answers(QUESTION) == [" wait", " walk on", " run", " go home"]


def test_over_all_orders_each_choice_stands_in_each_place_once():
    orders = np.array([listing(QUESTION, order) for order in range(4)])
    assert all(sorted(column) == [0, 1, 2, 3] for column in orders.T)


# --- scoring ---------------------------------------------------------------------------------------------------------


class Liking:
    """A scorer that likes one choice, or the first in the list; every character costs it something."""

    token_budget = 100

    def __init__(self, liked: str | None, cost: float = 0.0):
        self.liked, self.cost = liked, cost
        self.texts: dict[Scored, tuple[str, str]] = {}

    def scoring_mode(self, longest: int) -> str:
        return ""

    def weights_sha256(self) -> str:
        return f"{self.liked}{self.cost}".encode().hex().ljust(64, "0")

    def encode_after(self, context: str, continuation: str) -> Scored:
        scored = Scored(tuple((context + continuation).encode()), len(context.encode()))
        self.texts[scored] = (context, continuation.strip())
        return scored

    def log_probabilities(self, scored, on_done):
        return np.array([self._score(*self.texts[one]) for one in scored])

    def _score(self, context: str, choice: str) -> float:
        first = next((line[2:] for line in context.splitlines() if line.startswith("- ")), "")
        return (choice == (self.liked or first)) * 3.0 - 10.0 - self.cost * len(choice)


def asked(scorer: Liking, orders: int = 0) -> pd.DataFrame:
    table = score_cases(scorer, question_cases([QUESTION], load_wording("en"), orders), "some")
    return table.pivot(index="sample", columns="metric", values="value")


def test_the_likeliest_choice_is_the_answer_whatever_its_place():
    values = asked(Liking("run"))
    assert values["correct"].tolist() == [1, 1, 1, 1]
    assert values["position"].tolist() == [3, 2, 1, 4]
    assert values["choices"].tolist() == [4] * 4
    assert values["correct_unlisted"].dropna().tolist() == [1]
    assert asked(Liking("wait"))["correct"].tolist() == [0] * 4
    assert len(asked(Liking("run"), orders=2)) == 2


def test_a_model_that_takes_the_first_place_is_at_chance():
    values = asked(Liking(None))
    assert values["position"].tolist() == [1, 1, 1, 1]
    assert values["correct"].mean() == 0.25
    # Nothing is listed first: the four choices tie and share the point.
    assert values["correct_unlisted"].dropna().tolist() == [0.25]


def test_the_length_of_a_choice_counts_only_without_normalisation():
    # Per character each of them costs the same, and the constant less the longer a choice is.
    values = asked(Liking("nothing", cost=1.0))
    assert values["correct"].tolist() == [1] * 4  # "run" is the shortest
    assert set(values["position_normalised"]) == {1, 2, 3, 4}
    assert values["correct_normalised"].tolist() == [0] * 4


# --- tables ----------------------------------------------------------------------------------------------------------


def scores(model: str, right: dict[str, list[float]]) -> pd.DataFrame:
    """Scores in which both orders of an item have that value; position 1 throughout."""
    rows = []
    for item, values in right.items():
        for sample, value in enumerate(values):
            metrics = dict.fromkeys(emobench_tables.WAYS, value) | {
                "choices": 4,
                "position": 1,
                "position_normalised": 2,
            }
            rows += [
                {"model": model, "train_seed": 0, "item": item, "sample": sample, "metric": m, "value": v}
                for m, v in metrics.items()
            ]
    return pd.DataFrame(rows)


def test_accuracy_against_chance_by_question():
    items = {f"EA/{n}": [1, 1] for n in range(20)} | {f"EU-emotion/{n}": [0, 1] for n in range(20)}
    items |= {f"EU-cause/{n}": [0, 1] for n in range(20)}
    table = emobench_tables.accuracies(emobench_tables.by_question(scores("a", items)))
    listed = table[table["way"] == "listed"].set_index("task")
    assert listed.index.tolist() == ["EA", "EU-emotion", "EU-cause", "EU-both"]
    assert listed["accuracy"].tolist() == [100, 50, 50, 25]
    assert listed["chance"].tolist() == [25, 25, 25, 6.25]
    assert listed["questions"].tolist() == [20] * 4
    assert listed.loc["EA", "verdict"] == "above chance"
    none = emobench_tables.by_question(scores("a", {f"EA/{n}": [0.0] for n in range(40)}))
    assert emobench_tables.accuracies(none)["verdict"].tolist() == ["below chance"] * 4
    some = emobench_tables.by_question(scores("a", {f"EA/{n}": [float(n < 12)] for n in range(40)}))
    assert emobench_tables.accuracies(some)["verdict"].tolist() == ["at chance"] * 4


def test_verdicts_are_words_in_the_file_and_marks_where_they_are_read(config, tmp_path):
    right = {"above": 1.0, "below": 0.0}
    many = [scores(model, {f"EA/{n}": [value] for n in range(40)}) for model, value in right.items()]
    many.append(scores("at", {f"EA/{n}": [float(n < 12)] for n in range(40)}))
    against = [Comparison(model, "at", TUNED) for model in right]
    show(tmp_path, emobench_exhibits(config, Measured(pd.concat(many), against, ["at"], {})))
    table = read_table(tmp_path / "tables" / "emobench_accuracy.csv")
    assert table.loc[table["way"] == "listed", ["model", "accuracy", "chance", "verdict"]].to_numpy().tolist() == [
        ["above", 100, 25, "above chance"], ["below", 0, 25, "below chance"], ["at", 30, 25, "at chance"],
    ]  # fmt: skip
    assert shown_table(tmp_path, "emobench_accuracy").iloc[0].to_dict() == {
        "task": "EA", "way": "listed", "questions": "40", "chance": "25",
        "above": "100.0 [91.2, 100.0] +", "below": "0.0 [0.0, 8.8] -", "at": "30.0 [18.1, 45.4]",
    }  # fmt: skip


def test_places_of_the_list():
    table = emobench_tables.positions(scores("a", {f"EA/{n}": [1, 1] for n in range(5)}))
    assert len(table) == 8
    listed = table[table["way"] == "listed"]
    assert listed["share"].tolist() == [100, 0, 0, 0]
    assert listed["expected"].tolist() == [25] * 4
    assert listed["answers"].tolist() == [10] * 4


@pytest.mark.parametrize(("orders", "said"), [(4, "only the place itself"), (2, "what stood there can make a")])
def test_a_bias_of_place_is_told_from_one_of_choices_only_where_all_orders_were_asked(config, tmp_path, orders, said):
    four = scores("a", {f"EA/{n}": [1.0] * orders for n in range(3)})
    show(tmp_path, emobench_exhibits(config, Measured(four, [], ["a"], {})))
    captions = {exhibit.name: exhibit.caption for exhibit in exhibits(tmp_path)}
    assert said in captions["emobench_positions"]


def test_each_model_against_its_base():
    base = scores("base", {f"EA/{n}": [0.0, 0.0] for n in range(30)})
    tuned = scores("tuned", {f"EA/{n}": [float(n % 2)] * 2 for n in range(30)})
    questions = emobench_tables.by_question(pd.concat([base, tuned]))
    table = emobench_tables.differences(questions, [Comparison("tuned", "base", TUNED)])
    assert set(table["model"]) == {"tuned"}
    assert table["difference"].tolist() == [50] * 4
    assert (table["low"] > 0).all()
    assert (table["p_holm"] < 0.01).all()
    with pytest.raises(InputError, match="different items"):
        emobench_tables.differences(questions.drop(index=questions.index[:2]), [Comparison("tuned", "base", TUNED)])


# --- the command and the stage ---------------------------------------------------------------------------------------


def test_the_command_writes_scores_tables_and_figures(gpt2, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["emobench", "--model", str(gpt2), "--data", str(SAMPLE), "--items", "2", "--orders", "1"]
    assert main([*words, "--out", "scores.parquet", "--tables", "tables"]) == 0
    out = capsys.readouterr().out
    assert "EU-both" in out
    assert "Place in the list" in out
    table = pd.read_parquet("scores.parquet")
    assert set(table["item"]) == {f"{task}/{n}" for task in ("EA", "EU-emotion", "EU-cause") for n in (1, 2)}
    assert {file.stem for file in Path("tables/figures").glob("*.png")} == {"emobench_accuracy", "emobench_positions"}


def test_the_stage_and_what_it_shows_where_there_are_no_questions(gpt2, make_config, tmp_path):
    model = (f'bases.tiny={{name="{gpt2}"}}', 'respond.models=["tiny"]')
    config = make_config(*model, "emobench.items=1", "emobench.orders=1")
    assert run("emobench", EMOBENCH.pieces(config)).counts == {"questions": 3}
    assert run("emobench", EMOBENCH.pieces(config)).made == []
    run("drawing", [emobench_drawing(config)])
    shown = {(e.kind, e.name) for e in exhibits(config.home.evaluation)}
    assert ("figure", "emobench_accuracy") in shown
    without = make_config(*model, f"emobench.data={tmp_path}")
    assert EMOBENCH.pieces(without) == []
    run("drawing", [emobench_drawing(without)])
    table = (config.home.evaluation / "tables/emobench_accuracy.csv").read_text()
    assert f"EA.jsonl and EU.jsonl in {tmp_path}" in table
    assert not any(character.isdigit() for character in table.replace(str(tmp_path), ""))
