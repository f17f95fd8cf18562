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


def test_a_number_given_for_a_text_is_taken_as_text(tmp_path):
    assert load_config("embedded", tmp_path, ["augment.chunks=3"]).augment.chunks == "3"


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
