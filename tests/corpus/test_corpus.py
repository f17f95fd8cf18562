"""The corpus: what goes in, in which shares, on which side, and what its log says."""

import gzip
import json
import random
import shutil

import pandas as pd
import pytest

from emogap.corpus import compile as compiling
from emogap.corpus.compile import corpus, corpus_pieces
from emogap.corpus.log import composition_figure
from emogap.corpus.wiki import layout_of, read_articles
from emogap.errors import InputError, MissingInput, UsageError
from emogap.records import CORPUS, PROCESSED, STORIES, read_rows, write_rows
from emogap.store.artefacts import read_manifest, sha256_text
from emogap.store.exhibits import exhibits, read_table

EMOTIONS = ("joy", "fear", "curiosity", "anger")
WORDS = [f"{a}{b}" for a in ("ba", "co", "di", "fu", "le", "mo") for b in ("n", "rk", "st", "lly", "m", "ddle", "pper")]


def story_row(method: str, line: int, **changes) -> dict:
    """A story of 20 to 40 words that no other (method, line) has."""
    length = 20 + (line * 7 + len(method)) % 21
    text = f"{method} {line} " + " ".join(random.Random(f"{method}{line}").choices(WORDS, k=length - 2))
    row = {
        "id": f"{method}/L{line:04d}",
        "line_id": f"L{line:04d}",
        "source": ("speech", "books")[line % 2],
        "text": f"source line number {line}",
        "emotions": [EMOTIONS[line % 4], "love"],
        "method": method,
        "prompt_sha": sha256_text(method),
        "model": "writer@1",
        "seed": line,
        "reply": text,
        "story": text,
        "status": "kept",
        "reason": "",
    }
    return row | changes


def write_chunk(config, method: str, number: int, rows: list[dict]) -> None:
    path = config.home.chunk(method, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, pd.DataFrame(rows), STORIES)


def fill(config, lines: int = 60, methods=("m1", "m2", "m3")) -> None:
    for method in methods:
        write_chunk(config, method, 0, [story_row(method, line) for line in range(lines)])


@pytest.fixture(autouse=True)
def undrawn(monkeypatch, request):
    """Figures take longer than all the rest; one test draws."""
    if request.node.name != "test_composition_is_shown":
        monkeypatch.setattr(compiling, "composition_exhibits", lambda *_: [])


@pytest.fixture
def wiki(tmp_path):
    """Ten articles of 30 words each after their title, two levels of headings."""
    body = "\n".join(
        f" = = = Thing {n} = = = \n{' '.join(f'fact{n}word{k}' for k in range(20))}\n"
        f" = = = = More = = = = \n{' '.join(f'more{n}word{k}' for k in range(10))}\n"
        for n in range(10)
    )
    path = tmp_path / "wiki.train"
    path.write_text(body, encoding="utf-8")
    return path


def result(config) -> tuple[pd.DataFrame, dict]:
    path = config.home.corpus(config.corpus.name)
    return read_rows(path, CORPUS), json.loads(path.with_suffix(".json").read_text())


def test_everything_goes_in_once(make_config, wiki):
    config = make_config(f"corpus.factual=['{wiki}']")
    fill(config)
    summary = corpus(config)
    rows, log = result(config)
    assert len(rows) == 3 * 60 + 10 == summary.counts["documents"]
    assert rows["id"].is_unique and rows["text"].is_unique
    assert (rows["words"] == rows["text"].str.split().str.len()).all()
    assert set(rows["kind"]) == {"story", "factual"}
    assert rows["words"].sum() == log["totals"]["words"]
    story = rows[rows["id"] == "m2/L0003"].iloc[0]
    assert (story["line_id"], story["source"], story["method"], story["emotion"]) == ("L0003", "books", "m2", "anger")
    assert rows[rows["kind"] == "factual"]["source"].unique() == ["wiki"]
    assert config.home.corpus("emotional").with_suffix(".txt").read_text().startswith("Corpus emotional\n")


def test_a_line_is_on_one_side_whatever_the_method(make_config, wiki):
    config = make_config(f"corpus.factual=['{wiki}']")
    fill(config)
    # The same sentence stands in the raw text twice, under two ids.
    write_chunk(config, "m1", 1, [story_row("m1", 100 + n, text=f"Source line, NUMBER {n}!") for n in range(60)])
    corpus(config)
    rows, log = result(config)
    stories = rows[rows["kind"] == "story"]
    assert (stories.groupby("line_id")["split"].nunique() == 1).all()
    twins = stories["line_id"].str[1:].astype(int) % 100
    assert (stories.groupby(twins)["split"].nunique() == 1).all()
    assert stories.groupby(twins)["split"].first().eq("validation").sum() == 12
    assert (rows[rows["kind"] == "factual"]["split"] == "validation").sum() == 2
    assert log["splits"]["validation"]["documents"] == (rows["split"] == "validation").sum()


def test_two_ids_that_one_story_ties_together_share_a_side(make_config):
    config = make_config("corpus.factual=[]", "corpus.methods=['m1']", "corpus.validation_share=0.5")
    # L1 is known under two texts, and each of these under another id as well: all four belong together.
    rows = [
        story_row("m1", 1, text="one text"), story_row("m1", 2, text="another text"),
        story_row("m1", 3, line_id="L0001", text="another text"), story_row("m1", 4, text="One text."),
    ]  # fmt: skip
    write_chunk(config, "m1", 0, rows + [story_row("m1", n) for n in range(5, 30)])
    corpus(config)
    rows, _ = result(config)
    tied = rows[rows["id"].isin([f"m1/L{n:04d}" for n in (1, 2, 3, 4)])]
    assert len(tied) == 4 and tied["split"].nunique() == 1


def test_budget_is_never_passed_and_nothing_left_out_would_fit(make_config):
    config = make_config("corpus.factual=[]", "corpus.words=1_000")
    fill(config)
    corpus(config)
    rows, log = result(config)
    left = 1000 - rows["words"].sum()
    sizes = [len(story_row(method, line)["story"].split()) for method in ("m1", "m2", "m3") for line in range(60)]
    assert 0 <= left < sorted(sizes)[len(rows)]  # the shortest that can have been left out
    assert sum(sizes) - rows["words"].sum() == log["left_out"]["words"]
    assert log["left_out"]["documents"] == 180 - len(rows)


def test_order_depends_on_the_seed_alone(make_config):
    config = make_config("corpus.factual=[]")
    fill(config)
    corpus(config)
    path = config.home.corpus("emotional")
    first, _ = result(config)
    before = path.read_bytes()
    assert first["id"].tolist() != sorted(first["id"])
    shutil.rmtree(path.parent)
    corpus(config)
    assert path.read_bytes() == before
    other = make_config("corpus.factual=[]", "seed=1")
    corpus(other)
    assert result(other)[0]["id"].tolist() != first["id"].tolist()
    # A document more moves none of the others.
    write_chunk(config, "m1", 1, [story_row("m1", 77)])
    corpus(config)
    assert [i for i in result(config)[0]["id"] if i != "m1/L0077"] == first["id"].tolist()


@pytest.mark.parametrize(
    ("setting", "dimension", "wanted"),
    [
        ("corpus.shares.kind={ story = 0.75, factual = 0.25 }", "kind", {"story": 0.75, "factual": 0.25}),
        ("corpus.shares.source={ wiki = 0.2, speech = 0.6, books = 0.2 }", "source", {"wiki": 0.2, "speech": 0.6}),
        ("corpus.shares.method={ m1 = 0.5, m2 = 0.3, m3 = 0.2 }", "method", {"m1": 0.5, "m2": 0.3, "m3": 0.2}),
        ("corpus.shares.emotion={ joy = 0.5 }", "emotion", {"joy": 0.5}),
    ],
)
@pytest.mark.parametrize("words", [0, 1200])
def test_shares_are_of_words(make_config, wiki, setting, dimension, wanted, words):
    config = make_config(f"corpus.factual=['{wiki}']", setting, f"corpus.words={words}")
    fill(config)
    corpus(config)
    rows, log = result(config)
    among = rows if dimension in ("kind", "source") else rows[rows["kind"] == "story"]
    got = among.groupby(dimension)["words"].sum() / among["words"].sum()
    assert got[list(wanted)].to_dict() == pytest.approx(wanted, abs=0.04)
    if not words:
        assert log["budget"]["words"] - rows["words"].sum() < 250


def test_shares_of_two_dimensions_hold_together(make_config):
    config = make_config(
        "corpus.factual=[]", "corpus.words=2000", "corpus.shares.method={ m1 = 0.7, m3 = 0.3 }",
        "corpus.shares.emotion={ joy = 0.25, fear = 0.25, curiosity = 0.25, anger = 0.25 }",
    )  # fmt: skip
    fill(config)
    corpus(config)
    rows, _ = result(config)
    shares = rows.groupby("method")["words"].sum() / rows["words"].sum()
    assert set(shares.index) == {"m1", "m3"}
    assert shares["m1"] == pytest.approx(0.7, abs=0.03)
    assert (rows.groupby("emotion")["words"].sum() / rows["words"].sum()).between(0.2, 0.3).all()


def test_a_share_that_cannot_be_filled_is_said(make_config, capsys):
    config = make_config("corpus.factual=[]", "corpus.words=5000", "corpus.shares.emotion={ joy = 0.9 }")
    fill(config)
    corpus(config)
    _, log = result(config)
    assert any(note.startswith("emotion joy: ") for note in log["notes"])
    assert "emotion joy" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"shares\.method: there is no text of 'm7'.*m1, m2, m3"):
        corpus(make_config("corpus.factual=[]", "corpus.shares.method={ m7 = 0.5 }"))
    with pytest.raises(UsageError, match=r"add up to 1.2"):
        make_config("corpus.shares.kind={ story = 0.9, factual = 0.3 }")


def test_repeats_and_rejects_are_counted_by_reason(make_config):
    config = make_config("corpus.factual=[]", "corpus.methods=['m1', 'm2']")
    write_chunk(config, "m1", 0, [story_row("m1", n) for n in range(20)])
    copy = story_row("m1", 3)["story"]
    rejected = [story_row("m2", n, status="rejected", reason="too short") for n in (4, 5)]
    nearly = story_row("m1", 7)["story"].replace("m1 7 ", "M1, 7: ") + " indeed"
    write_chunk(config, "m2", 0, [story_row("m2", 1, story=copy), story_row("m2", 2, story=nearly), *rejected])
    corpus(config)
    _, log = result(config)
    assert log["rejected"] == {"too short": 2, "equal to an earlier document": 1}
    assert [file["kept"] for file in log["files"]] == [20, 1]
    corpus(make_config("corpus.factual=[]", "corpus.methods=['m1', 'm2']", "corpus.near_duplicates=0.7"))
    rows, log = result(config)
    assert log["rejected"]["nearly equal to an earlier story"] == 1
    assert len(rows) == 20 and [file["kept"] for file in log["files"]] == [20, 0]
    assert log["files"][1]["words"] == 0


def test_log_counts_wiki_files_as_the_published_average_does(make_config, wiki):
    config = make_config(f"corpus.factual=['{wiki}']")
    fill(config)
    corpus(config)
    rows, log = result(config)
    words, stories = rows["words"].sum(), (rows["kind"] == "story").sum()
    averages = log["averages"]
    assert averages["words_per_sample_wiki_files_whole"] == pytest.approx(words / (stories + 1), abs=1e-3)
    assert averages["words_per_document"] == pytest.approx(words / len(rows), abs=1e-3)
    assert sum(row["words"] for row in log["by"]["source"]) == words
    assert sum(row["words"] for row in log["by"]["emotion"]) == rows[rows["kind"] == "story"]["words"].sum()


def test_articles_are_whole_and_their_marks_undone(tmp_path):
    path = tmp_path / "text.train"
    path.write_text(
        " above the first\n \n = Red fox = \n It is a small @-@ eared <unk> of 1 @,@ 000 kinds . It runs 3 @.@ 5 km .\n"
        " = = Food = = \n a = b + c \n mice\n = Empty = \n\n = Owl <unk> = \n sees\n",
        encoding="utf-8",
    )
    articles = {article.title: article.text for article in read_articles(path)}
    assert articles == {
        "": "above the first",
        "Red fox": "It is a small-eared of 1,000 kinds . It runs 3.5 km .\nFood\na = b + c\nmice",
        "Empty": "",
        "Owl": "sees",
    }
    sentence = {article.title: article.text for article in read_articles(path, "sentence")}
    assert sentence["Red fox"].startswith("It runs 3.5 km .\nFood")
    assert "<unk> of" in {article.title: article.text for article in read_articles(path, "keep")}["Red fox"]


def articles_in(tmp_path, text: str | bytes, name: str = "w.train") -> list[tuple[str, str]]:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(article.title, article.text) for article in read_articles(path)]


TWO = [("Red fox", "It runs.\nFood\nMice."), ("Owl", "It sees.")]
HEADINGS = " = = Red fox = = \n\n It runs. \n\n = = = Food = = = \n Mice. \n\n = = Owl = = \n It sees. \n"
BLANKS = "Red fox\nIt runs.\nFood\nMice.\n\n \nOwl\nIt sees.\n"


@pytest.mark.parametrize("text", [HEADINGS, BLANKS])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_both_forms_of_wiki_files_with_marks_and_line_ends_of_any_system(tmp_path, text, ends, mark):
    plain = (mark + text.replace("\n", ends)).encode()
    assert articles_in(tmp_path, plain) == TWO
    assert articles_in(tmp_path, gzip.compress(plain), "w.train.gz") == TWO
    assert articles_in(tmp_path, (mark + text).encode("utf-16")) == TWO
    articles_in(tmp_path, plain)
    form = layout_of(tmp_path / "w.train")
    assert form.name == ("headings" if text is HEADINGS else "blank lines")
    assert form.is_new == (text is BLANKS or bool(mark)), "what was read so before, homes need not hear of"


def test_forms_at_the_edges(tmp_path):
    one = articles_in(tmp_path, "A line.\nAnother one.\n")
    assert one == [("", "A line.\nAnother one.")] and layout_of(tmp_path / "w.train").name == "none"
    assert articles_in(tmp_path, "One.\n\nTwo.\n\n\n\nThree\nit is.") == [
        ("", "One."),
        ("", "Two."),
        ("Three", "it is."),
    ]
    assert articles_in(tmp_path, "\n \n") == articles_in(tmp_path, "") == []
    # An excerpt that begins inside an article: its sections do not part the articles that follow.
    cut = "Tail.\n\n= = Food = =\nMice.\n= Owl =\nIt sees.\n= = Eyes = =\nTwo.\n"
    assert articles_in(tmp_path, cut) == [("", "Tail.\nFood\nMice."), ("Owl", "It sees.\nEyes\nTwo.")]
    assert layout_of(tmp_path / "w.train").is_new
    # A line in a text that looks like a heading: no level of articles in a long file, no form of one without headings.
    long = "".join(f"= = A{n} = =\nText.\n" for n in range(200)) + "= 5 =\nText.\n= = B = =\nText.\n"
    assert len(articles_in(tmp_path, long)) == 202
    blank = "".join(f"A{n}\nText.\n\n" for n in range(1000)) + "B\n= 5 =\nText.\n"
    assert articles_in(tmp_path, blank)[-1] == ("B", "5\nText.") and len(articles_in(tmp_path, blank)) == 1001


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("= Café =\n".encode("latin-1"), r"w.train, line 1: byte 0xe9 is not UTF-8 .*; save the file as UTF-8"),
        ("= A =\nText.\n".encode("utf-16-le"), "seems to be UTF-16 without a byte-order mark; save it as UTF-8"),
        (b"= A =\nTe\0xt.\n", r"w.train, line 2: a NUL byte; it is no text"),
    ],
)
def test_what_is_no_text_is_refused_by_its_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        articles_in(tmp_path, content)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="w.train.gz cannot be unpacked"):
        articles_in(tmp_path, gzip.compress(HEADINGS.encode())[:-9], "w.train.gz")


def test_the_form_found_is_told_and_only_a_new_one_makes_old_corpora_stale(make_config, wiki, tmp_path, capsys):
    blank = tmp_path / "simple.train.gz"
    blank.write_bytes(gzip.compress("\n\n".join(f"Title {n}\n" + "word " * 9 + str(n) for n in range(7)).encode()))
    config = make_config(f"corpus.factual=['{wiki}']")
    fill(config, lines=4)
    assert next(corpus_pieces(config)).recipe.identities == {}
    corpus(config)
    assert "wiki.train: 10 articles under headings" in capsys.readouterr().out
    config = make_config(f"corpus.factual=['{wiki}', '{blank}']")
    assert next(corpus_pieces(config)).recipe.identities["rule articles"].startswith("2 (without headings")
    corpus(config)
    rows, log = result(config)
    assert (rows["source"] == "simple").sum() == 7 and rows.query("source == 'simple'")["words"].eq(12).all()
    assert [(file["records"], file["form"]) for file in log["files"][-2:]] == [(10, "headings"), (7, "blank lines")]
    said = f"{blank}: 7 articles between blank lines"
    assert said in capsys.readouterr().out
    assert read_manifest(config.home.corpus("emotional"))["notes"]["articles"][str(blank)] == said.split(": ")[1]
    assert "(7 articles between blank lines)" in config.home.corpus("emotional").with_suffix(".txt").read_text()


def test_what_is_too_long_for_the_budget_or_a_share_is_told_with_the_remedy(make_config, tmp_path):
    wiki = tmp_path / "wiki.train"
    wiki.write_text(" ".join(f"w{n}" for n in range(500)))
    config = make_config(f"corpus.factual=['{wiki}']", "corpus.words=400", "corpus.shares.kind={ factual = 0.5 }")
    fill(config)
    corpus(config)
    _, log = result(config)
    assert "kind factual: 0.0000 of the budget, asked 0.5000" in log["notes"]
    assert log["notes"][-1] == (
        "documents longer than the budget of 400 words or their share of it: 1; the longest, wiki:000000, has 500: "
        "raise corpus.words, ask for other corpus.shares, or part its file into articles"
    )
    with pytest.raises(UsageError, match=r"fits into 400 words .* shortest has 500: raise corpus.words .*blank lines$"):
        corpus(make_config(f"corpus.factual=['{wiki}']", "corpus.words=400", "corpus.methods=[]"))


def test_missing_and_bad_input_is_one_clear_line(make_config, wiki):
    config = make_config(f"corpus.factual=['{wiki}']")
    with pytest.raises(MissingInput, match=r"babylm_augment/m1/chunk_\*\.parquet not found .*pretrain_data_augment"):
        next(corpus_pieces(config))
    fill(config)
    with pytest.raises(MissingInput, match="nowhere.train not found"):
        next(corpus_pieces(make_config("corpus.factual=['/nowhere.train']")))
    with pytest.raises(MissingInput, match="chunk 7 of m1 is not there"):
        next(corpus_pieces(make_config("corpus.factual=[]", "corpus.chunks={ m1 = '0,7' }")))
    with pytest.raises(UsageError, match="give all, or numbers"):
        next(corpus_pieces(make_config("corpus.factual=[]", "corpus.chunks={ m1 = 'some' }")))
    with pytest.raises(UsageError, match="not one document fits"):
        corpus(make_config("corpus.factual=[]", "corpus.words=5"))
    wiki.write_bytes(b" = \xff = \n")
    with pytest.raises(InputError, match="line 1: byte 0xff is not UTF-8"):
        corpus(config)
    config.home.chunk("m1", 0).write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"chunk_00000.parquet cannot be read as Parquet"):
        corpus(make_config("corpus.factual=[]"))
    assert not config.home.corpus("emotional").exists()


def test_chosen_chunks_alone_are_read(make_config):
    config = make_config("corpus.factual=[]", "corpus.methods=['m1']", "corpus.chunks={ m1 = '1' }")
    for number in (0, 1):
        write_chunk(config, "m1", number, [story_row("m1", 100 * number + n) for n in range(10)])
    corpus(config)
    assert result(config)[0]["id"].str.startswith("m1/L010").all()
    assert corpus(config).fresh == ["emotional.parquet"]
    for numbers, said in (("1-0", "1-0 ends before it begins"), ("0-9999999999", "there is no chunk 9999999999")):
        with pytest.raises(UsageError, match=f"corpus.chunks.m1 = '{numbers}': {said}"):
            corpus(make_config("corpus.factual=[]", "corpus.methods=['m1']", f"corpus.chunks={{ m1 = '{numbers}' }}"))


def test_composition_is_shown(make_config, wiki):
    config = make_config(f"corpus.factual=['{wiki}']")
    fill(config, lines=20)
    corpus(config)
    rows, _ = result(config)
    folder = config.home.corpus("emotional").parent
    assert {(exhibit.kind, exhibit.name) for exhibit in exhibits(folder)} == {
        ("table", "composition"), ("figure", "composition"),
    }  # fmt: skip
    table = pd.read_csv(folder / "tables" / "composition.csv").set_index(["dimension", "value"])
    assert table.loc[("method", "m2"), "words"] == rows[rows["method"] == "m2"]["words"].sum()
    assert (folder / "figures" / "composition.png").stat().st_size > 10_000


def test_the_figure_is_drawn_from_its_table_or_a_part_of_it():
    rows = [
        ("kind", "factual", 30, 0.3),
        ("kind", "story", 70, 0.7),
        ("source", "a", 60, 0.6),
        ("source", "b", 40, 0.4),
    ]
    table = pd.DataFrame(rows, columns=["dimension", "value", "words", "share"]).assign(validation_words=10)
    figure = composition_figure(table)
    assert figure.get_suptitle() == "Words: 30 (30%) of factual text, 70 (70%) of stories"
    part = composition_figure(table[table["dimension"] == "source"])
    assert part.get_suptitle() == "Words" and len(part.axes) == 1
    assert "no document" in composition_figure(table[:0]).texts[0].get_text()


# --- corpora of controls ---------------------------------------------------------------------------------------------


def side_by_side(config) -> dict[str, pd.DataFrame]:
    return {own.name: read_rows(config.home.corpus(own.name), CORPUS) for own in config.all_corpora}


def write_lines(config, count: int, sources=("speech", "books")) -> None:
    """Emotional lines of 3 words and more, some twice."""
    rows = [
        {
            "id": f"L{n:04d}", "source": sources[n % len(sources)], "text": f"source line {n} " + "so " * (n % 7),
            "emotion": EMOTIONS[n % 4], "score": 0.9, "scores": [0.0] * 28,
        }
        for n in range(count)
    ]  # fmt: skip
    twice = rows[0] | {"id": "L9999"}
    config.home.filtered.parent.mkdir(parents=True, exist_ok=True)
    write_rows(config.home.filtered, pd.DataFrame([*rows, twice]), PROCESSED)


def test_controls_have_as_many_words_of_stories_and_the_same_factual_text(make_config, wiki):
    config = make_config("controls=true", f"corpus.factual=['{wiki}']", "corpus.methods=['m1']")
    fill(config, methods=["m1", "m2", "m3"])
    write_chunk(config, "m0", 0, [story_row("m0", line) for line in range(90)])
    write_lines(config, 600, sources=("speech", "books", "elsewhere"))
    corpus(config)
    found = side_by_side(config)
    emotional, plain, lines = found["emotional"], found["plain"], found["lines"]
    assert set(emotional["method"]) == {"m1", ""} and set(plain["method"]) == {"m0", ""}
    assert set(lines["kind"]) == {"line", "factual"} and set(lines["source"]) == {"speech", "books", "wiki"}
    assert lines["text"].is_unique
    factual = {name: rows[rows["kind"] == "factual"].set_index("id") for name, rows in found.items()}
    told = {name: rows.loc[rows["kind"] != "factual", "words"].sum() for name, rows in found.items()}
    for control, shortest in (("plain", 20), ("lines", 30)):
        pd.testing.assert_frame_equal(factual[control].sort_index(), factual["emotional"].sort_index())
        assert 0 <= told["emotional"] - told[control] < shortest
        sides = found[control].groupby("line_id")["split"].first()
        shared = emotional.set_index("line_id")["split"].reindex(sides.index).dropna()
        assert (sides[shared.index] == shared).all() and len(shared) > 10
    assert set(plain["split"]) == set(lines["split"]) == {"train", "validation"}
    log = json.loads(config.home.corpus("plain").with_suffix(".json").read_text())
    assert log["budget"] == {"asked": emotional["words"].sum(), "words": emotional["words"].sum(), "as": "emotional"}
    assert "as many as the corpus emotional has" in config.home.corpus("plain").with_suffix(".txt").read_text()
    table = read_table(config.home.corpus("plain").parent / "tables" / "corpora.csv").set_index("corpus")
    assert table["words of lines"].to_dict() == {"emotional": 0, "plain": 0, "lines": told["lines"]}
    assert table.loc["plain", "words of stories"] == told["plain"] and table.loc["plain", "as many as"] == "emotional"


def test_lines_together_are_as_long_as_the_stories_and_each_is_there_once(config):
    words = {"L1": "a b c", "L2": "d e", "L3": "a  b c", "L4": "f", "L5": "g h", "L6": "i j k l m n"}
    lines = [compiling.Document(name, "line", "s", name, "", "joy", text, text) for name, text in words.items()]
    lines.insert(2, compiling.Document("X1", "line", "other", "X1", "", "fear", "o p q", "o p q"))
    told = pd.DataFrame(
        [("story", "L2", "validation", 4), ("story", "L4", "train", 6), ("factual", "wiki", "train", 100)],
        columns=["kind", "line_id", "split", "words"],
    )
    found = list(compiling.together([*lines, "a reason"], told))  # stories have five words on average
    texts = [one if isinstance(one, str) else (one.id, one.source, one.text) for one in found]
    assert texts == [
        compiling.REPEATED, ("L1", "s", "a b c\ng h"), ("L6", "s", "i j k l m n"), "a reason",
        ("L2", "s", "d e"), ("X1", "other", "o p q"), ("L4", "s", "f"),
    ]  # fmt: skip


def test_a_control_of_too_little_text_says_so_and_another_seed_draws_others(make_config, capsys):
    settings = ("controls=true", "corpus.factual=[]", "corpus.methods=['m1']")
    config = make_config(*settings)
    fill(config)
    write_chunk(config, "m0", 0, [story_row("m0", line) for line in range(20)])
    write_lines(config, 900)
    corpus(config)
    assert "corpus plain: 5" in capsys.readouterr().out
    first = set(side_by_side(config)["lines"]["id"])
    corpus(make_config(*settings, "seed=1"))
    second = set(side_by_side(config)["lines"]["id"])
    assert first != second and abs(len(first) - len(second)) < 60


def test_only_the_corpus_that_another_follows_makes_it_stale(make_config):
    settings = ("controls=true", "corpus.factual=[]")
    config = make_config(*settings)
    fill(config)
    write_chunk(config, "m0", 0, [story_row("m0", line) for line in range(90)])
    write_lines(config, 900)
    corpus(config)
    assert not corpus(config).made
    before = {p.path.stem: p.recipe.sha256() for p in corpus_pieces(make_config("corpus.factual=[]"))}
    assert before["emotional"] == next(corpus_pieces(config)).recipe.sha256(), "controls change nothing of it"
    changed = make_config(*settings, "corpora=[{ name = 'plain', methods = ['m0'], words = 400 }]")
    assert corpus(changed).made == ["plain.parquet"]


def test_every_line_as_it_is_needs_no_story_no_emotion_and_none_of_the_stories_sources(make_config):
    rows = "corpora=[{ name = 'text', lines = 'all', words = 'as:emotional' }, { name = 'whole', lines = 'all' }]"
    config = make_config("corpus.factual=[]", "corpus.methods=['m1']", rows)
    fill(config)
    texts = [f"a line of seven words, number {n}" for n in range(400)]
    lines = pd.DataFrame({"id": [f"e:{n}" for n in range(400)], "source": "elsewhere", "text": texts})
    config.home.lines.parent.mkdir(parents=True, exist_ok=True)
    lines.to_parquet(config.home.lines)
    corpus(config)
    found = side_by_side(config)
    assert set(found["text"]["source"]) == {"elsewhere"} and set(found["text"]["emotion"]) == {""}
    assert 0 <= found["emotional"]["words"].sum() - found["text"]["words"].sum() < 7
    assert len(found["whole"]) == 400 and found["whole"]["split"].eq("validation").mean() == pytest.approx(0.2)
    recipes = {piece.path.stem: piece.recipe for piece in corpus_pieces(config)}
    assert recipes["whole"].settings["corpus.lines"] == "all" and set(recipes["whole"].inputs) == {"lines"}
    assert "corpus.lines" not in recipes["emotional"].settings


def test_a_corpus_of_lines_alone_names_no_method(make_config):
    assert make_config("corpus.methods=[]", "corpus.factual=[]", "corpus.lines=all").corpus.lines == "all"
    assert make_config("corpus.lines=true").corpus.lines is True
