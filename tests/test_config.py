import pytest

from emogap.config import load_config, profiles
from emogap.errors import UsageError
from emogap.paths import ROOT


@pytest.mark.parametrize("profile", profiles())
def test_every_profile_is_valid(profile, tmp_path):
    config = load_config(profile, tmp_path)
    assert config.profile == profile
    assert {strategy.task for strategy in config.strategies} == {"clm", "sft"}


def test_smoke_profile_uses_the_papers_models_on_few_rows(tmp_path):
    paper, smoke = load_config("paper", tmp_path), load_config("paper-smoke", tmp_path)
    assert smoke.bases == paper.bases
    assert smoke.writer == paper.writer
    assert smoke.clm.max_steps == smoke.sft.max_steps == 10
    assert 0 < smoke.augment.lines < 20
    assert smoke.augment.sampling.temperature == paper.augment.sampling.temperature  # a nested table is merged


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("augment.linez=3", ["augment.linez", "3", "did you mean 'lines'"]),
        ("augment.lines=-1", ["augment.lines", "-1", "greater than or equal to 0"]),
        ("augment.lines=abc", ["augment.lines", '"abc"', "integer"]),
        ('augment.methods=["m9"]', ["m9", "known: m1, m2, m3"]),
        ("process.threshold=2", ["process.threshold", "2"]),
        ("nosection.key=1", ["nosection", "known keys"]),
        ("augment", ["section.key=value", "'augment'"]),
        ("seed.deep.key=1", ["seed.deep.key", "'seed' is not a section"]),
    ],
)
def test_a_wrong_setting_is_named_with_value_and_remedy(setting, words, tmp_path):
    with pytest.raises(UsageError) as caught:
        load_config("embedded", tmp_path, [setting])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_unknown_profile_names_those_there_are(tmp_path):
    with pytest.raises(UsageError, match=r"unknown profile 'nope'.*embedded.*paper"):
        load_config("nope", tmp_path)


def test_a_strategy_must_start_from_something_known(tmp_path):
    profile = tmp_path / "mine.toml"
    profile.write_text(
        'extends = "embedded"\n[[strategies]]\nname = "x"\nparent = "nobody"\ntask = "clm"\ndata = "emotional"\n'
    )
    with pytest.raises(UsageError, match="'nobody'.*neither a base nor a strategy above"):
        load_config(str(profile), tmp_path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            "controls_of='x'",
            "unknown setting 'strategies.0.controls_of' of 'mine' = \"x\"; did you mean 'control_of'?",
        ),
        ("colour='x'", "; known keys here: name, parent, task, data, control_of (embedded.toml)"),
        ("task='stf'", "setting 'strategies.0.task' of 'mine' = \"stf\": input should be 'clm' or 'sft'"),
    ],
)
def test_a_mistake_in_a_row_says_whose_row_it_is(row, said, tmp_path):
    task = "" if "task" in row else "task='clm', "
    rows = f"strategies=[{{ name='mine', parent='smollm2-135m', data='emotional', {task}{row} }}]"
    with pytest.raises(UsageError) as caught:
        load_config("embedded", tmp_path, [rows])
    assert said in str(caught.value)
    with pytest.raises(UsageError, match="of 'a' = 1; known keys here: name, revision"):
        load_config("embedded", tmp_path, ["sentiment.classifiers=[{ name='a', colour=1 }]"])


AS_THEY_STAND = [
    "1.10", "1e5", "0x10", "1_000", "007", "2024-05-14", "true", "True", "inf", "nan", "None", "3", "a # b", "a=b",
    "a\\b\\n", "it's", 'say "a" and "b"', "[1]", "{x}", "a\nseed = 5", " a ", "",
]  # fmt: skip


@pytest.mark.parametrize("text", AS_THEY_STAND)
def test_a_text_setting_takes_the_text_as_it_stands(text, tmp_path):
    keys = ("respond.prompts", "bases.smollm2-135m.revision", "augment.templates.mine", "stats.tokenizer")
    config = load_config("embedded", tmp_path, [f"{key}={text}" for key in keys])
    assert config.respond.prompts == text
    assert config.bases["smollm2-135m"].revision == text
    assert config.augment.templates["mine"] == text
    assert config.stats.tokenizer == text
    assert config.seed == 0
    assert load_config("embedded", tmp_path, [("respond.prompts", text)]).respond.prompts == text


@pytest.mark.parametrize(
    ("given", "text"), [('"a"', "a"), ("'1.10'", "1.10"), (' "a" # a note', "a"), ('"a#b"', "a#b")]
)
def test_a_text_may_stand_in_quotation_marks_behind_set(given, text, tmp_path):
    assert load_config("embedded", tmp_path, [f"respond.prompts={given}"]).respond.prompts == text
    assert load_config("embedded", tmp_path, [("respond.prompts", given)]).respond.prompts == given


def test_texts_in_lists_and_tables_stand_as_they_are_and_numbers_are_numbers(tmp_path):
    config = load_config(
        "embedded",
        tmp_path,
        [
            "lens.words=[1.10, 0x10, true, 2024-05-14, 'a # b', \"1e5\", m1-b/c]  # a list",
            "augment.chunks=1_0",
            'corpus.methods=["m1"]',
            "corpus.chunks={ m1 = 1_0 }",
            "bases.'a.b'={name = 1.10, revision = 1e5}",
            "sentiment.classifiers=[{name=007}, {name = 'x', revision = 1.0}]",
            "sft.seeds=[1, 0x10]",
            "clm.lora={rank = 1_6, merge = false, dropout = 1e-1}",
            "corpus.words=1e7",
            "process.threshold=0.50",
            "writer.dtype=bf16",
        ],
    )
    assert config.lens.words == ["1.10", "0x10", "true", "2024-05-14", "a # b", "1e5", "m1-b/c"]
    assert (config.augment.chunks, config.corpus.chunks) == ("1_0", {"m1": "1_0"})
    assert config.bases["a.b"].model_dump() == {"name": "1.10", "revision": "1e5"}
    assert [c.model_dump() for c in config.sentiment.classifiers] == [
        {"name": "007", "revision": "main"},
        {"name": "x", "revision": "1.0"},
    ]
    assert config.sft.seeds == [1, 16]
    assert (config.clm.lora.rank, config.clm.lora.merge, config.clm.lora.dropout) == (16, False, 0.1)
    assert (config.corpus.words, config.process.threshold, config.writer.dtype) == (10_000_000, 0.5, "bf16")
    assert load_config("embedded", tmp_path, ["process.threshold=tuned"]).process.threshold == "tuned"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("[corpus]\nname = 1.10", "setting 'corpus.name' = 1.1: a text stands in quotation marks (mine.toml"),
        ("[corpus]\nmethods = ['m1', 7]", "setting 'corpus.methods.1' = 7: a text stands in quotation marks"),
        ("[respond]\nprompts = 2024-05-14", "setting 'respond.prompts' = \"2024-05-14\": a text stands"),
        ("[stats]\ntokenizer = true", "setting 'stats.tokenizer' = true: a text stands"),
        ("[augment.templates]\n1.10 = 'x'", 'augment.templates.1\' = {"10": "x"}: a part of a key with a dot in it'),
    ],
)
def test_a_number_for_a_text_in_a_profile_is_refused(lines, said, tmp_path):
    profile = tmp_path / "mine.toml"
    profile.write_text(f'extends = "embedded"\n{lines}\n')
    with pytest.raises(UsageError) as caught:
        load_config(str(profile), tmp_path)
    assert said in str(caught.value)


def test_of_several_values_for_one_key_the_last_holds(tmp_path):
    assert load_config("embedded", tmp_path, ["seed=1", "seed=2", ("seed", "3")]).seed == 3


def test_overrides_of_settings_and_text_values(tmp_path):
    config = load_config("embedded", tmp_path, ["augment.sampling.top_p=0.5", "corpus.name=mine", "seed=7"])
    assert config.augment.sampling.top_p == 0.5
    assert config.corpus.name == "mine"
    assert config.seed == 7


def test_how_work_is_done_does_not_shape_the_result(tmp_path):
    flat = load_config("embedded", tmp_path).flat("process")
    assert "process.min_words" in flat
    assert "process.workers" not in flat


def test_home_is_given_or_from_the_environment_or_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOGAP_HOME", str(tmp_path / "env"))
    assert load_config("embedded", tmp_path / "given").home.root == tmp_path / "given"
    assert load_config("embedded").home.root == tmp_path / "env"
    monkeypatch.delenv("EMOGAP_HOME")
    monkeypatch.chdir(tmp_path)
    assert load_config("embedded").home.root == ROOT / "runs" / "embedded"


def test_options_of_vllm_are_words_as_they_stand_and_enter_recipes_where_there_are_any(make_config):
    assert "writer.vllm_options" not in make_config().flat_writer("engine")
    config = make_config("writer.vllm_options=['--tensor-parallel-size', 2]")
    assert config.flat_writer("engine")["writer.vllm_options"] == ["--tensor-parallel-size", "2"]
    assert {config.writer: "an engine that is kept open"}


@pytest.mark.parametrize("key", ["seed", "corpus.words", "process.threshold", "writer.timeout", "scale.gpus"])
def test_true_is_no_number(key, tmp_path):
    with pytest.raises(UsageError, match=f"setting '{key}' = true: a number is wanted, not true or false"):
        load_config("embedded", tmp_path, [f"{key}=true"])


def test_a_profile_may_begin_with_a_byte_order_mark(tmp_path):
    profile = tmp_path / "mine.toml"
    profile.write_text('\ufeffextends = "embedded"\nseed = 3\n', encoding="utf-8")
    assert load_config(str(profile), tmp_path).seed == 3


@pytest.mark.parametrize("key", ["scale.cpus", "writer.timeout"])
def test_a_number_is_finite(key, tmp_path):
    with pytest.raises(UsageError, match=f"setting '{key}' = Infinity: input should be a finite number"):
        load_config("embedded", tmp_path, [f"{key}=inf"])
