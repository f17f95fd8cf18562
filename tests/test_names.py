"""Names that users give (methods, models, groups, sources) where tables and folders have names of their own."""

import pandas as pd
import pytest

from emogap.corpus.compile import corpus_pieces
from emogap.corpus.composition import pools
from emogap.corpus.log import composition
from emogap.errors import UsageError
from emogap.grammar.blimp_tables import blimp_exhibits
from emogap.grammar.tasks import Measured
from emogap.preference.questionnaire import Votes, build_questionnaire, prompts_table
from emogap.records import RESPONSES, write_rows
from emogap.report.entries import to_cells
from emogap.store.exhibits import read_table
from emogap.store.views import View, cells, distinct_name
from emogap.textstats.figures import MEASURES, measures


def test_different_names_stay_different():
    names = ["all", "all (source)", "all (source) (source)", "other", "other (source)", "All"]
    told = [distinct_name(name, ("all", "emotion"), "source") for name in names]
    assert told == [
        "all (source)", "all (source) (source)", "all (source) (source) (source)", "other", "other (source)", "All",
    ]  # fmt: skip


def test_models_and_phenomena_called_like_the_grammar_tables_own(make_config):
    scores = pd.DataFrame(
        [
            {"model": model, "item": f"u/{n}", "group": group, "metric": "correct", "value": float(n != 2)}
            | {"train_seed": 0, "sample": 0}
            for model in ("pairs", "phenomenon")
            for n, group in enumerate(("all pairs", "ties", "ties"))
        ]
    )
    found = Measured(scores, [], ["pairs", "phenomenon"], {})
    [(exhibit, numbers)] = blimp_exhibits(make_config(), found)
    table = cells(numbers, exhibit.view)
    assert list(table.columns) == ["phenomenon", "pairs", "pairs (model)", "phenomenon (model)"]
    assert table.set_index("phenomenon")["pairs"].to_dict() == {
        "all pairs (of the pairs)": "1", "ties (of the pairs)": "2", "all pairs": "3", "mean of phenomena": "3",
        "ties": "3",
    }  # fmt: skip
    assert table["pairs (model)"].str.split().str[0].tolist() == ["100", "50", "67", "75", "0"]


def test_a_model_called_like_a_column_of_the_questions_table():
    rows = [
        {"model": "task", "task": "EA", "way": "listed", "questions": 4, "accuracy": 50.0, "low": 15.0, "high": 85.0,
         "chance": 25.0, "verdict": "at chance"}
    ]  # fmt: skip
    view = View(rows=("task", "way", "questions", "chance"), columns="model", values=("accuracy",))
    assert list(cells(pd.DataFrame(rows), view).columns) == ["task", "way", "questions", "chance", "task (model)"]


def test_a_group_called_like_the_column_of_measures():
    rows = [
        {"group": group, "preset": "words", "measure": "texts", "value": n} for n, group in enumerate(("measure", "b"))
    ]
    table = cells(measures(pd.DataFrame(rows)), MEASURES)
    assert table.to_dict("records") == [{"measure": "texts", "measure (group)": "0", "b": "1"}]


def test_votes_for_models_called_like_the_table_s_own_columns(make_config):
    models = ["instruction", "prompt_id"]
    votes = pd.DataFrame(
        [(rater, "joy/00", choice, "") for rater, choice in enumerate([*models, "instruction", "none"])],
        columns=["rater", "prompt_id", "choice", "reason"],
    )
    table = prompts_table(Votes(votes, models, [], {"joy/00": "Be glad."}))
    assert table.to_dict("records") == [
        {"prompt_id": "joy/00", "instruction": "Be glad.", "instruction (model)": 2, "prompt_id (model)": 1, "none": 1}
    ]
    config = make_config("bases={ none = { name = 'x' } }", "strategies=[]", "respond.empty_prompts=0")
    path = config.home.responses("none")
    path.parent.mkdir(parents=True)
    row = dict.fromkeys(RESPONSES.columns, "") | {"model": "none", "train_seed": 0, "sample": 0, "finished": True}
    write_rows(path, pd.DataFrame([row | {"prompt_id": "joy/00"}]), RESPONSES)
    with pytest.raises(UsageError, match="is called 'none', as is the choice of no answer; call it otherwise"):
        build_questionnaire(config, config.home.root / "page", prompts=1)


def test_a_source_called_the_rest_has_no_share_of_the_rest(make_config):
    catalogue = pd.DataFrame(
        {"id": ["a", "b", "c"], "kind": "story", "source": ["(the rest)", "speech", "books"], "method": "m1",
         "emotion": "joy", "words": 10, "group": [0, 1, 2], "split": "train"}
    )  # fmt: skip
    shares = pools(catalogue, make_config("corpus.shares.source={ speech = 0.5 }").corpus.shares)
    log = composition("x", catalogue, catalogue, [], shares, 30, 30)
    assert {row["value"]: row["asked"] for row in log["by"]["source"]} == {
        "(the rest)": None, "speech": 0.5, "books": None,
    }  # fmt: skip


def test_a_method_and_a_wiki_file_called_like_a_chunk_of_it_are_two_inputs(make_config, tmp_path):
    wiki = tmp_path / "chunk_00000.train"
    wiki.write_text("= A =\ntext\n")
    config = make_config("corpus.methods=['factual']", f"corpus.factual=['{wiki}']")
    chunk = config.home.chunk("factual", 0)
    chunk.parent.mkdir(parents=True)
    pd.DataFrame({"text": ["A line."]}).to_parquet(chunk)
    inputs = next(corpus_pieces(config)).recipe.inputs
    assert inputs == {"factual/chunk_00000": chunk, "factual/chunk_00000 (file)": wiki}


def test_no_corpus_and_no_model_takes_the_place_of_a_folder_s_own_files(config):
    with pytest.raises(UsageError, match="a corpus cannot be called 'captions'"):
        config.home.corpus("captions")
    with pytest.raises(UsageError, match="a model cannot be called 'tables': .* call it otherwise"):
        config.home.model("tables")


# --- on the page -----------------------------------------------------------------------------------------------------


def cells_of(table: pd.DataFrame) -> dict[str, list[str]]:
    (part,) = to_cells(table).parts
    return {name: [row[i] for row in part.rows] for i, name in enumerate(part.columns)}


def test_texts_and_counts_called_like_the_ends_of_an_interval_are_none():
    texts = pd.DataFrame({"v3": ["warm"], "v3_low": ["cool"], "v3_high": ["hot"]})
    assert cells_of(texts) == {"v3": ["warm"], "v3 low": ["cool"], "v3 high": ["hot"]}
    counts = pd.DataFrame({"cbt": [5], "cbt_low": [1], "cbt_high": [9]})
    assert cells_of(counts) == {"cbt": ["5"], "cbt low": ["1"], "cbt high": ["9"]}
    share = pd.DataFrame({"share": [5], "share_low": [1.5], "share_high": [9.0]})
    assert cells_of(share) == {"share": ["5.0 [1.5, 9.0]"]}


def test_names_that_look_like_numbers_or_like_nothing_are_shown_as_they_are(tmp_path):
    file = tmp_path / "t.csv"
    pd.DataFrame({"method": ["1.10", "None"], "rows": [1, 2]}).to_csv(file, index=False)
    (part,) = to_cells(read_table(file)).parts
    assert part.rows == [["1.10", "1"], ["None", "2"]]
    pd.DataFrame({"dimension": "source", "value": ["1.10", "nan"], "asked": [None, 0.5]}).to_csv(file, index=False)
    table = read_table(file)
    assert table["value"].tolist() == ["1.10", "nan"] and table["asked"].isna().tolist() == [True, False]
