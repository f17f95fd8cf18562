"""What the setting ``controls`` adds to a profile: the same trainings without their emotion, and what these need."""

import re

import pytest

from emogap.config import Config, load_config
from emogap.emotions import LABELS
from emogap.errors import UsageError
from emogap.paths import from_root
from emogap.stories.augment import Stories, chunk_ends

BASE = "smollm2-135m"


def rows(config) -> dict[str, tuple[str, str, str, str]]:
    return {s.name: (s.parent, s.task, s.data, s.control_of) for s in config.strategies}


@pytest.fixture
def own(tmp_path):
    """The embedded profile with controls and strategies of one's own."""

    def make(*strategies, **settings):
        named = [dict(zip(("name", "parent", "task", "data"), row, strict=True)) for row in strategies]
        given = {"controls": True, "strategies": named, "lens.models": [BASE]} | settings
        return load_config("embedded", tmp_path / "home", given)

    return make


def test_each_training_of_the_profile_has_its_controls(make_config):
    without, config = rows(make_config()), rows(make_config("controls=true"))
    assert {name: row for name, row in config.items() if name not in without} == {
        f"{BASE}-plain": (BASE, "clm", "plain", f"{BASE}-baby"),
        f"{BASE}-lines": (BASE, "clm", "lines", f"{BASE}-baby"),
        f"{BASE}-orig": (BASE, "sft", "original:v1", f"{BASE}-instr"),
        f"{BASE}-plain-orig": (f"{BASE}-plain", "sft", "original:v1", f"{BASE}-baby-instr"),
    }
    assert {name: config[name] for name in without} == without
    assert load_config("embedded").controls
    assert not any(load_config(profile).controls for profile in ("paper", "paper-smoke", "cpu-study"))


def test_corpora_and_methods_that_controls_need_stand_beside_the_profile_s_own(make_config):
    without, config = make_config(), make_config("controls=true")
    assert (config.corpus, without.corpora) == (without.corpus, [])
    plain, lines = config.corpora
    assert (plain.name, plain.methods, plain.words) == ("plain", ["m0"], "as:emotional")
    assert (lines.name, lines.lines, lines.words) == ("lines", "together", "as:emotional")
    assert plain.factual == lines.factual == config.corpus.factual
    assert config.augment.methods == ["m1", "m2", "m3", "m0"] and without.augment.methods == ["m1", "m2", "m3"]
    assert "m0" not in config.corpus.methods
    again = Config.model_validate(config.model_dump())
    assert again.model_dump() == config.model_dump(), "what is there is not added once more"


def test_the_rule_goes_by_what_a_training_starts_from_and_learns(own):
    config = own(
        ("instr", BASE, "sft", "v1"), ("instr-baby", "instr", "clm", "emotional"), ("facts", BASE, "clm", "facts"),
        ("facts-instr", "facts", "sft", "v1"), ("mine", BASE, "sft", "mine.json"), ("instr2", BASE, "sft", "v1"),
        corpora=[{"name": "facts", "methods": []}],
    )  # fmt: skip
    assert {name: row for name, row in rows(config).items() if row[3]} == {
        f"{BASE}-orig": (BASE, "sft", "original:v1", "instr"),
        f"{BASE}-orig-plain": (f"{BASE}-orig", "clm", "plain", "instr-baby"),
        "facts-orig": ("facts", "sft", "original:v1", "facts-instr"),
        "instr2-orig": (BASE, "sft", "original:v1", "instr2"),
    }


def test_a_control_that_the_profile_names_is_taken_for_it(own):
    named = {"name": "mine", "parent": BASE, "task": "sft", "data": "v1"}
    control = named | {"name": "quiet", "data": "quiet.json", "control_of": "mine"}
    config = own(strategies=[named, control])
    assert rows(config) == {"mine": (BASE, "sft", "v1", ""), "quiet": (BASE, "sft", "quiet.json", "mine")}


def test_another_corpus_of_stories_has_controls_of_its_own(own):
    config = own(
        ("a", BASE, "clm", "emotional"), ("b", BASE, "clm", "one"), corpora=[{"name": "one", "methods": ["m1"]}]
    )
    found = {name: row[1:] for name, row in rows(config).items() if row[3]}
    assert found == {
        f"{BASE}-plain": ("clm", "plain", "a"), f"{BASE}-lines": ("clm", "lines", "a"),
        "b-plain": ("clm", "one-plain", "b"), "b-lines": ("clm", "one-lines", "b"),
    }  # fmt: skip
    assert {c.name: c.words for c in config.corpora} | {"one": 0} == {
        "one": 0, "plain": "as:emotional", "lines": "as:emotional", "one-plain": "as:one", "one-lines": "as:one",
    }  # fmt: skip


def test_a_further_corpus_has_what_it_does_not_say_from_the_first(make_config):
    config = make_config(
        "corpus.words=500", "corpus.shares.kind={ story = 0.5 }",
        "corpora=[{ name = 'other', methods = ['m1'], shares = { source = { books = 0.2 } } }]",
    )  # fmt: skip
    (other,) = config.corpora
    assert (other.words, other.methods, other.factual) == (500, ["m1"], config.corpus.factual)
    assert other.shares.kind == {"story": 0.5} and other.shares.source == {"books": 0.2}
    flat = config.flat_corpus(config.corpus)
    assert "corpus.lines" not in flat and flat.keys() == config.flat("corpus").keys() - {"corpus.lines"}


@pytest.mark.parametrize(
    ("corpora", "said"),
    [
        ("[{ words = 5 }]", "two corpora are called 'emotional'"),
        ("[{ name = 'a', words = 'as:b' }]", "as many words as 'b', which is no corpus above it; there is emotional"),
        ("[{ name = 'a', words = 'many' }]", "corpora.0.words"),
        ("[{ name = 'a', lines = 'together' }]", "lines = 'together' needs words = 'as:NAME'"),
        ("[{ name = 'a', word = 5 }]", "did you mean"),
    ],
)
def test_a_corpus_that_cannot_be_is_one_line(make_config, corpora, said):
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        make_config(f"corpora={corpora}")
    assert "\n" not in str(caught.value)


# --- m0 --------------------------------------------------------------------------------------------------------------


def test_the_prompt_of_m0_names_no_emotion_and_is_otherwise_that_of_m1(make_config):
    m0, m1 = (from_root(f"prompts/stories/{name}.txt").read_text() for name in ("m0", "m1"))
    words = re.findall(r"[a-z]+", m0.lower())
    assert not set(words) & {*LABELS, "emotion", "emotions", "feel", "feels", "feeling", "happy", "sad", "angry"}
    assert [part.split("\n")[0] for part in m0.split("[[")] == [part.split("\n")[0] for part in m1.split("[[")]
    shared = [line for line in m1.splitlines() if line.startswith("- ") and line in m0]
    assert len(shared) == 3, "rules without a word about emotions are the same"
    for line in ("where did all these little yellow chicks", "he put the empty collar back on the hook"):
        assert m0.count(line) == m1.count(line) == 1
    told = [[len(part.split()) for part in text.split("[[")[2:5:2]] for text in (m0, m1)]
    assert all(abs(ours - theirs) <= 15 for ours, theirs in zip(*told, strict=True)), "as long"


def test_m0_writes_about_the_same_lines_and_the_next_ones_until_it_has_as_many(make_config):
    size = ("controls=true", "augment.chunk_size=4")

    def ends(*settings, available=100):
        found = chunk_ends(make_config(*size, *settings).augment, available)
        assert found["m1"] == found["m2"] == found["m3"]
        return found["m1"], found["m0"]

    assert ends("augment.lines=6") == (
        {0: (0, 4), 1: (4, 6)},
        {0: (0, 4), 1: (4, 8), 2: (8, 12), 3: (12, 16), 4: (16, 18)},
    )
    emotional, plain = ends("augment.lines=6", available=9)
    assert (max(emotional.values()), max(plain.values())) == ((4, 6), (8, 9)), "there are no more"
    emotional, plain = ends("augment.lines=0", "augment.chunks='0-1'")
    assert (list(emotional), list(plain)) == ([0, 1], [0, 1, 2, 3, 4, 5])
    assert chunk_ends(make_config("augment.lines=6", *size[1:]).augment, 100)["m1"] == {0: (0, 4), 1: (4, 6)}


def test_without_an_emotion_asked_for_a_template_is_refused_but_that_of_m0(make_config, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("Tell of: {context}")
    with pytest.raises(UsageError, match=r"mine.txt: the placeholder \{emotion\} or \{emotions\} is missing"):
        Stories(make_config(f"augment.templates.mine={file}", "augment.methods=['mine']")).prompting("mine")
