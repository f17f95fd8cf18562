"""A study of which a part is empty: nothing emotional, nothing kept, nothing to train. It goes on to its report."""

import json
import re

import pandas as pd
import pytest
from tiny_study import Study, Writer, profile_file

from emogap.config import load_config
from emogap.corpus import compile as compiling
from emogap.corpus.compile import corpus
from emogap.corpus.wiki import read_articles
from emogap.emotions import LABELS
from emogap.errors import UsageError
from emogap.lens.stage import lens_models
from emogap.paths import ROOT
from emogap.records import CORPUS, PROCESSED, REWRITES, STORIES, read_rows, write_rows
from emogap.report.entries import to_cells
from emogap.store.exhibits import Exhibit, drawing, exhibits, read_table
from emogap.store.pieces import run
from emogap.stories import augment as augmenting
from emogap.stories.outcomes import for_reading
from emogap.study.stages import STAGES
from emogap.study.state import inspect_all
from emogap.train.models import study_models
from emogap.train.strategies import nothing_to_train, trainable, untrained

NOT_ONE = "training and validation need one each"


def write(path, rows: list[dict], row_type) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=list(row_type.columns) if not rows else None)
    write_rows(path, table, row_type)


def documents(config, splits: list[str], lines: list[str] | None = None) -> None:
    lines = lines or [f"l{n}" for n in range(len(splits))]
    row = dict.fromkeys(CORPUS.columns, "x") | {"words": 1, "kind": "story"}
    rows = [row | {"id": f"d{n}", "split": split, "line_id": lines[n]} for n, split in enumerate(splits)]
    write(config.home.corpus("emotional"), rows, CORPUS)


def rewrites(config, kept: int, rejected: int = 3) -> None:
    row = dict.fromkeys(REWRITES.columns, "x")
    rows = [row | {"id": str(n), "status": "kept" if n < kept else "rejected"} for n in range(kept + rejected)]
    write(config.home.rewrite_rows("v1"), rows, REWRITES)


# --- what there is to train, and to measure --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("splits", "lines", "said"),
    [
        ([], None, "the corpus emotional has no document"),
        (["train"], None, f"lines and articles in the corpus emotional: 1; {NOT_ONE}"),
        (["train"] * 6, ["a", "a", "a", "b", "b", "b"], f"lines and articles in the corpus emotional: 2; {NOT_ONE}"),
        (["train", "train", "validation"], None, ""),
    ],
)
def test_a_corpus_from_which_nothing_can_be_learnt(config, splits, lines, said):
    documents(config, splits, lines)
    rewrites(config, kept=2)
    expected = (
        {"smollm2-135m-baby": said, "smollm2-135m-baby-instr": "smollm2-135m-baby is not trained"} if said else {}
    )
    assert untrained(config) == expected
    assert [run.name for run in trainable(config, "sft")] == [
        name for name in ("smollm2-135m-instr", "smollm2-135m-baby-instr") if name not in expected
    ]
    assert nothing_to_train(config, "clm") == [f"nothing to train: smollm2-135m-baby ({said})"] * bool(said)
    assert [model.key for model in study_models(config)] == [
        "smollm2-135m", *(s.name for s in config.strategies if s.name not in expected)
    ]  # fmt: skip


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_rewrites_from_which_nothing_can_be_learnt(config, kept):
    rewrites(config, kept)
    said = f"{kept} of the rewrites v1 were kept; {NOT_ONE}"
    names = ["smollm2-135m-instr", "smollm2-135m-baby-instr"]
    assert untrained(config) == (dict.fromkeys(names, said) if kept < 2 else {})


def test_records_of_one_s_own_that_are_too_few(make_config, tmp_path):
    file = tmp_path / "own.json"
    strategy = f"strategies=[{{ name='one', parent='smollm2-135m', task='sft', data='{file}' }}]"
    config = make_config(strategy, "lens.models=['one']")
    assert untrained(config) == {}, "what is not there is missing, not empty"
    records = [{"instruction": verb, "input": "", "output": "La."} for verb in ("Sing.", "Hum.")]
    for count, said in ((0, {"one": f"0 of the records in {file} are there; {NOT_ONE}"}), (2, {})):
        file.write_text(json.dumps(records[:count]))
        assert untrained(config) == said


def test_what_is_measured_where_what_was_asked_for_cannot_be_trained(make_config):
    rewrites(make_config(), kept=0)
    config = make_config("respond.models=['smollm2-135m-instr']", "lens.models=['smollm2-135m-instr']")
    assert [model.key for model in study_models(config)] == ["smollm2-135m"], "its base"
    assert [model.key for model in lens_models(config)] == ["smollm2-135m"]
    with pytest.raises(UsageError, match="'nope' is no model"):
        lens_models(make_config("lens.models=['smollm2-135m-instr', 'nope']"))


# --- the corpus ------------------------------------------------------------------------------------------------------


def story(method: str, line: int, status: str = "rejected") -> dict:
    text = f"{method} {line} tells of a fox." if status == "kept" else None
    row = dict.fromkeys(STORIES.columns, "x")
    names = {"id": f"{method}/{line}", "line_id": str(line), "text": f"line {line}", "method": method}
    return row | names | {"emotions": ["joy"], "seed": 0, "story": text, "status": status, "reason": "too short"}


def stories(config, kept: dict[str, int] | None = None) -> None:
    for method in config.augment.methods:
        count = (kept or {}).get(method, 0)
        rows = [story(method, line, "kept" if line < count else "rejected") for line in range(5)]
        write(config.home.chunk(method, 0), rows, STORIES)


def log_of(config) -> dict:
    return json.loads(config.home.corpus("emotional").with_suffix(".json").read_text())


def test_without_a_kept_story_the_corpus_has_the_factual_text_and_says_so(make_config, monkeypatch, capsys):
    monkeypatch.setattr(compiling, "composition_exhibits", lambda *_: [])
    config = make_config("corpus.shares.kind={ story = 0.7, factual = 0.3 }", "corpus.shares.method={ m2 = 0.5 }")
    stories(config)
    corpus(config)
    notes = log_of(config)["notes"]
    assert notes[0] == "there is no story: none was accepted, or none fits"
    assert "kind story: 0.0000 of the budget, asked 0.7000" in notes
    assert "method m2: 0.0000 of the budget, asked 0.3500" in notes
    assert "NOTE there is no story" in config.home.corpus("emotional").with_suffix(".txt").read_text()
    assert "corpus emotional: there is no story" in capsys.readouterr().out
    rows = read_rows(config.home.corpus("emotional"), CORPUS)
    assert set(rows["kind"]) == {"factual"}
    articles = list(read_articles(ROOT / config.corpus.factual[0]))
    assert 0 < len(rows) < len(articles), "as much as its share allows"
    corpus(make_config())
    assert len(read_rows(config.home.corpus("emotional"), CORPUS)) == len(articles)
    corpus(make_config("corpus.shares.kind={ story = 1.0 }"))
    assert log_of(config)["notes"][0] == "nothing to compile: there is no text of what corpus.shares asks for"


def test_with_nothing_at_all_the_corpus_is_empty_and_shown_as_empty(make_config, capsys):
    config = make_config("corpus.factual=[]", "corpus.shares.source={ speech = 0.5 }", "corpus.words=1000")
    stories(config)
    assert corpus(config).counts["documents"] == 0
    assert read_rows(config.home.corpus("emotional"), CORPUS).empty
    said = "nothing to compile: there is no accepted story and no article"
    assert log_of(config)["notes"][0] == said and said in capsys.readouterr().out
    folder = config.home.corpus("emotional").parent
    assert {(e.kind, e.caption) for e in exhibits(folder)} == {
        (kind, f"Corpus emotional has no document: {said}.") for kind in ("table", "figure")
    }
    assert to_cells(read_table(folder / "tables" / "composition.csv")).all_rows == 0
    assert (folder / "figures" / "composition.png").stat().st_size > 1000
    assert corpus(config).fresh == ["emotional.parquet"]


def test_one_method_without_a_kept_story_is_no_share_s_end(make_config, monkeypatch):
    monkeypatch.setattr(compiling, "composition_exhibits", lambda *_: [])
    config = make_config("corpus.factual=[]", "corpus.shares.method={ m1 = 0.5, m2 = 0.5 }")
    stories(config, {"m1": 5, "m3": 5})
    corpus(config)
    assert set(read_rows(config.home.corpus("emotional"), CORPUS)["method"]) == {"m1"}
    assert "method m2: 0.0000 of the budget, asked 0.5000" in log_of(config)["notes"]


def test_stories_that_are_none_can_be_shown(make_config, monkeypatch):
    monkeypatch.setattr(augmenting, "story_chunks", lambda _: [])
    shown = for_reading(augmenting.read_stories(make_config()))
    assert shown.empty and {"line", "text", "raw reply", "score", "reason", "notes"} <= set(shown)


# --- pages and notebooks ---------------------------------------------------------------------------------------------


def test_an_exhibit_that_there_is_nothing_for_any_more_is_taken_away(tmp_path):
    def draw(*names: str) -> None:
        shown = [(Exhibit(name, "table", name, 1), pd.DataFrame({"x": [1]})) for name in names]
        optional = ("tables/a", "figures/b")
        inputs = {"rows": tmp_path / "rows"}
        inputs["rows"].write_text(" ".join(names))
        run("stage", [drawing(tmp_path, "stage", "tables/b", inputs, lambda: shown, optional=optional)])

    draw("a", "b", "c")
    (tmp_path / ".drawn-stage.manifest.json").unlink()  # what was drawn is known no more
    draw("b")
    assert [exhibit.name for exhibit in exhibits(tmp_path)] == ["b", "c"]
    assert sorted(file.name for file in (tmp_path / "tables").iterdir()) == ["b.csv", "b.tex", "c.csv", "c.tex"]


class Refusing(Writer):
    """Writes too little, but where the prompt has one of these words in it."""

    def __init__(self, *kept: str):
        super().__init__()
        self.kept = kept

    def reply(self, prompt: str, seed: int) -> str:
        return super().reply(prompt, seed) if any(word in prompt for word in self.kept) else "No."


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    return profile_file(tmp_path_factory.mktemp("profile"))


def execute(notebook: str, config, settings: list[str]) -> None:
    """Run a notebook's cells one after another as Python; what a cell shows last is thrown away."""
    names: dict = {}
    for cell in json.loads((ROOT / notebook).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            if cell["metadata"].get("tags") == ["parameters"]:
                names |= {"PROFILE": config.source, "HOME": str(config.home.root), "SETTINGS": settings}


@pytest.fixture
def study(profile, tmp_path, monkeypatch):
    """Runs every stage in this process, in order, where it has a notebook through its cells; the settings."""
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    writers = []

    def run(writer: Writer, *settings: str):
        writers.append(writer)
        monkeypatch.setenv("OPENAI_BASE_URL", writer.url)
        config = load_config(str(profile), tmp_path / "home", list(settings))
        for stage in STAGES:
            if (stage.source or "").endswith(".ipynb"):
                execute(stage.source, config, list(settings))
            else:
                print(stage.run(config))
        return config

    yield run
    for writer in writers:
        writer.shutdown()


def empty(config) -> dict[str, tuple[str, ...]]:
    """What each stage says is empty; all must be fresh."""
    states = inspect_all(config)
    assert {state.state for state in states} == {"fresh"}, states
    return {state.stage.name: state.empty for state in states if state.empty}


def on_the_page(config) -> str:
    page = config.home.report.read_text(encoding="utf-8")
    assert "nan" not in re.findall(r"<td[^>]*>([^<]*)</td>", page)
    return page.partition("<h3>What is empty</h3>")[2].partition("<h3>")[0]


@pytest.mark.slow
def test_nothing_kept_at_all(study, capsys):
    config = study(Refusing(), "corpus.factual=[]")
    no_rewrite = f"0 of the rewrites v1 were kept; {NOT_ONE}"
    reasons = {
        "smollm2-135m-baby": "the corpus emotional has no document",
        "smollm2-135m-instr": no_rewrite,
        "smollm2-135m-baby-instr": "smollm2-135m-baby is not trained",
    }
    no_story = tuple(f"none of the 8 stories of {method} was kept" for method in ("m1", "m2", "m3"))
    lines = {name: f"{name} ({reason})" for name, reason in reasons.items()}
    measured = {name: f"not measured: {name} (nothing to train: {reason})" for name, reason in reasons.items()}
    said = {
        "augment": no_story,
        "corpus": ("nothing to compile: the corpus emotional has no document",),
        "rewrite": ("none of the 12 rewrites of v1 was kept",),
        "clm": (f"nothing to train: {lines['smollm2-135m-baby']}",),
        "sft": tuple(f"nothing to train: {lines[name]}" for name in ("smollm2-135m-instr", "smollm2-135m-baby-instr")),
        "evaluate": tuple(measured.values()),
        "lens": (measured["smollm2-135m-baby-instr"],),
        "babylm-stats": no_story,
        "alpaca-stats": ("none of the 12 rewrites of v1 was kept",),
    }
    assert empty(config) == said
    printed, page = capsys.readouterr().out, on_the_page(config)
    for line in (*said["clm"], *said["sft"], *said["evaluate"], "babylm-stats: method m2 has no text"):
        assert line in printed
    assert page.count("<li>") == sum(map(len, said.values())) and all(s in page for of in said.values() for s in of)
    assert not list(config.home.models.glob("*/config.json"))
    statistics = pd.read_csv(config.home.story_stats / "text_statistics.csv")
    assert set(statistics["measure"]) == {"texts", "total_words", "unique_words"} and statistics["value"].eq(0).all()
    assert exhibits(config.home.models)[0].caption.startswith("No model was trained by causal language modelling: ")


@pytest.mark.slow
def test_nothing_emotional_and_one_rewrite_kept(study, make_config):
    records = json.loads((ROOT / "data/sample/alpaca.json").read_text())
    config = study(Refusing(records[0]["instruction"]), "process.threshold=0.9999", "rewrite.count=0")
    assert read_rows(config.home.filtered, PROCESSED).empty and not list(config.home.stories.glob("*/chunk_*"))
    rows = read_rows(config.home.rewrite_rows("v1"), REWRITES)
    assert rows["status"].eq("kept").sum() == 1
    said = empty(config)
    assert said["process"] == ("no line is emotional; give more text or lower process.threshold",)
    assert said["augment"] == said["babylm-stats"] == (f"nothing to write about: {said['process'][0]}",)
    assert said["corpus"] == ("the corpus emotional has no story",)
    assert "clm" not in said, "it learns from the articles"
    assert all(f"1 of the rewrites v1 were kept; {NOT_ONE}" in line for line in said["sft"])
    assert (config.home.model("smollm2-135m-baby") / "training.json").exists()
    assert "no line is emotional" in on_the_page(config)
    assert exhibits(config.home.stories)[0].caption.startswith("No story was written: no line is emotional")
    statistics = pd.read_csv(config.home.story_stats / "text_statistics.csv")
    assert set(statistics["group"]) == {"m1", "m2", "m3"} and statistics["value"].eq(0).all()
    own = pd.read_csv(config.home.rewrite_stats / "text_statistics.csv").set_index(["preset", "measure"])["value"]
    assert own["words", "texts"] == 1 and own.notna().all()


@pytest.mark.slow
def test_the_run_itself_comes_to_its_report(profile, tmp_path):
    """Nothing is kept; notebooks in kernels of their own, as a user has them."""
    writer = Refusing()
    study = Study(profile, tmp_path / "home", writer.url)
    child, log = study.start_command("run", "--set", "corpus.factual=[]")
    child.join(900)
    said = log.read_text()
    assert child.exitcode == 0, said[-3000:]
    for line in (
        "augment: none of the 8 stories of m3 was kept",
        "clm: nothing to train: smollm2-135m-baby (the corpus emotional has no document)",
        f"sft: nothing to train: smollm2-135m-instr (0 of the rewrites v1 were kept; {NOT_ONE})",
        "lens: not measured: smollm2-135m-baby-instr (nothing to train: smollm2-135m-baby is not trained)",
    ):
        assert re.search(rf"\[\d+/11\] {re.escape(line)}\n", said), line
    again, said = study.command("run", "--set", "corpus.factual=[]")
    assert again == 0 and said.count(": fresh") == len(STAGES)
    assert "nothing to train" in study.command("status", "--set", "corpus.factual=[]")[1]
    writer.shutdown()


def test_labels_that_no_line_has_make_no_draw(make_config, monkeypatch):
    """Drawn evenly over the emotions, of none there is none."""
    from fakes import HashClassifier

    from emogap.babylm import process as babylm

    classifier = HashClassifier()
    classifier.zero = tuple(label for label in LABELS if label != "neutral")
    monkeypatch.setattr("emogap.emotion.classify.load", lambda *_: classifier)
    monkeypatch.setattr(babylm, "classifier_identity", lambda model: model.name)
    monkeypatch.setattr("emogap.babylm.process.emotion_shares", lambda table: None)
    monkeypatch.setattr("emogap.store.exhibits.save_figure", lambda *_: None)
    config = make_config("process.balance=true")
    assert babylm.process(config).counts["emotional, drawn"] == 0
    assert babylm.nothing_emotional(config)
