"""A home's own settings: kept when they shape results, read by all, taken back; settings shown with their meaning."""

import json
import tomllib

import pytest

from emogap.commands.cli import main
from emogap.config import forget, load_config, setting_keys
from emogap.errors import UsageError
from emogap.published import published


def kept(home) -> dict:
    file = home / "settings.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def test_what_shapes_results_is_kept_and_how_work_is_done_is_not(tmp_path, capsys):
    given = ["augment.sampling.temperature=1.3", "augment.chunks=0", "writer.device=cpu", "seed=7"]
    load_config("embedded", tmp_path, given, keep=True)
    assert kept(tmp_path) == {"augment.sampling.temperature": 1.3, "seed": 7}
    said = capsys.readouterr().out
    line = "augment.sampling.temperature = 1.3 in this home from now on (the profile has 0.7)"
    assert f"{tmp_path / 'settings.toml'}: {line}\n" in said
    again = load_config("embedded", tmp_path)
    assert (again.augment.sampling.temperature, again.seed, again.augment.chunks) == (1.3, 7, "all")
    load_config("embedded", tmp_path, given, keep=True)
    assert capsys.readouterr().out == "", "nothing changed"


def test_a_value_of_the_profile_takes_it_back(tmp_path, capsys):
    load_config("embedded", tmp_path, {"augment.sampling.temperature": 1.3}, keep=True)
    load_config("embedded", tmp_path, {"augment.sampling.temperature": 0.7}, keep=True)
    assert "(as the profile has it)" in capsys.readouterr().out
    assert not (tmp_path / "settings.toml").exists()


def test_a_look_keeps_nothing(tmp_path):
    assert load_config("embedded", tmp_path, ["seed=7"]).seed == 7
    assert main(["status", "--home", str(tmp_path), "--set", "seed=7"]) == 0
    assert kept(tmp_path) == {}


def test_a_whole_table_takes_the_place_of_its_parts_and_parts_stand_on_it(tmp_path):
    load_config("embedded", tmp_path, ["augment.sampling.temperature=1.3"], keep=True)
    whole = load_config("embedded", tmp_path, ["augment.sampling=published-rewrites-run"], keep=True)
    assert kept(tmp_path) == {"augment.sampling": "published-rewrites-run"}
    part = load_config("embedded", tmp_path, ["augment.sampling.top_p=0.5"], keep=True)
    assert part.augment.sampling == whole.augment.sampling.model_copy(update={"top_p": 0.5})
    assert load_config("embedded", tmp_path).augment.sampling == part.augment.sampling


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("corpus.shares.kind", {"story": 0.6, "factual": 0.4}),
        ("augment.templates.mine", 'a "quoted" name.txt'),
        ("process.raw_dirs", ["data/sample/babylm", "x, y"]),
        ('bases."1.10".name', "embedded:smollm2-135m-instruct"),
        ("respond.greedy", True),
    ],
)
def test_values_of_all_kinds_come_back_as_they_were(tmp_path, key, value):
    there = load_config("embedded", tmp_path, [(key, value)], keep=True)
    assert kept(tmp_path) == {key: value} or load_config("embedded", tmp_path / "other", [(key, value)]).bases
    assert load_config("embedded", tmp_path).model_dump() == there.model_dump()


def test_settings_are_shown_and_taken_back(tmp_path, capsys):
    home = ["--home", str(tmp_path)]
    load_config("embedded", tmp_path, ["seed=7", "clm.learning_rate=1e-4"], keep=True)
    capsys.readouterr()
    assert main(["settings", *home]) == 0
    assert capsys.readouterr().out == (
        f"clm.learning_rate = 0.0001\nseed = 7\n{tmp_path} sets 2 beside the profile embedded\n"
    )
    assert main(["status", *home]) == 0
    assert f"embedded in {tmp_path}, which sets clm.learning_rate, seed\n" in capsys.readouterr().out
    assert main(["settings", *home, "--forget", "seed"]) == 0
    assert kept(tmp_path) == {"clm.learning_rate": 0.0001}
    assert main(["settings", *home, "--forget", "sead"]) == 2
    assert "does not set 'sead'; it sets clm.learning_rate" in capsys.readouterr().err
    assert forget(load_config("embedded", tmp_path), []) == ["clm.learning_rate"] and kept(tmp_path) == {}
    assert main(["settings", *home, "clm.learning_rate"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("clm.learning_rate = ") and "(published: 2e-05)" in shown


def test_a_damaged_file_and_a_setting_that_is_gone_are_one_line(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('"seed" = \n')
    with pytest.raises(UsageError, match="settings.toml cannot be read .*mend it, or delete it"):
        load_config("embedded", tmp_path)
    file.write_text('"augment.lins" = 3\n')
    with pytest.raises(UsageError, match=r"did you mean 'lines'\? \(embedded.toml, .*settings.toml\)"):
        load_config("embedded", tmp_path)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("clm.lr", "clm.learning_rate"), ("augment.temperature", "augment.sampling.temperature"),
        ("augment.sampling.temp", "augment.sampling.temperature"), ("temperature", "augment.sampling.temperature"),
        ("clm.bs", "clm.batch_size"), ("sft.rank", "sft.lora.rank"), ("sed", "seed"), ("augment.line", "lines"),
    ],
)  # fmt: skip
def test_natural_guesses_find_their_key(tmp_path, key, meant):
    with pytest.raises(UsageError, match=rf"did you mean '({meant}|augment\.{meant})'\?"):
        load_config("embedded", tmp_path, [f"{key}=1"])


def test_every_setting_has_a_meaning_and_what_was_published_is_one_of_them(tmp_path):
    shown = load_config("embedded", tmp_path).show()
    assert shown.loc[shown["meaning"] == "", "setting"].tolist() == []
    assert shown["setting"].tolist() == [".".join(key) for key in setting_keys()]
    said = {setting: value for setting, value, _ in published("settings").rows}
    assert said.keys() <= set(shown["setting"])
    row = shown.set_index("setting").loc["augment.chunk_size"]
    assert json.loads(row["published"]) == said["augment.chunk_size"] == 871
    assert load_config("embedded", tmp_path).show("writer")["setting"].str.startswith("writer.").all()
    with pytest.raises(UsageError, match="'writers' is no section and no setting"):
        load_config("embedded", tmp_path).show("writers")
