"""Prices from rates: what is priced, what is refused, and rates that are measured."""

import json
import socket

import pytest
from tiny_models import save_tiny_gpt2

from emogap import calibrate, rates
from emogap.cli import main
from emogap.config import Config
from emogap.errors import InputError, MissingInput, ModelError, UsageError
from emogap.plan import Work, plan, price, sizes, works
from emogap.rates import UNITS, Rate, Rates, keep, load_rates, own_rates, rates_file


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Rates of these tests are no rates of the user's."""
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("EMOGAP_CACHE", str(tmp_path / "cache"))


def work_of(config: Config, kind: str, size: int = 0) -> Work:
    return next(work for work in works(config, sizes(config)[size]) if work.kind == kind)


def rate_for(work: Work, /, **more) -> Rate:
    """A rate that fits this work on a machine whose ``auto`` is cpu and fp32."""
    dtype = "fp32" if work.dtype == "auto" else work.dtype
    fitting = {"work": work.kind, "model": work.model, "device": "cpu", "dtype": dtype, "settings": work.settings}
    if work.kind in ("clm", "sft"):
        fitting["validation_per_second"] = 1000.0
    return Rate(**{**fitting, "per_second": 100.0, **more})


def machine_with(*known: Rate) -> Rates:
    return Rates(machine="a machine", device="cpu", dtype="fp32", rates=list(known))


# --- prices ----------------------------------------------------------------------------------------------------------


def test_stories_cost_their_tokens_and_their_bytes(config):
    work = work_of(config, "stories")
    priced = price(work, machine_with(rate_for(work, per_second=100, per_item=200, bytes_each=4000)))
    assert priced.hours == pytest.approx(49_647 * 200 / 100 / 3600)
    assert priced.gigabytes == pytest.approx(49_647 * 4000 / 1e9)


def test_100m_words_are_all_emotional_lines_with_every_method_and_a_corpus_of_them(make_config):
    config = make_config("augment.methods=['m1', 'm2']", "clm.max_steps=-1", "clm.epochs=3")
    assert work_of(config, "stories", size=1).items == 435_500 * 2
    assert work_of(config, "clm", size=1).items == pytest.approx(100e6 * 0.8 * 3)
    assert work_of(config, "rewrites", size=1).items == 20_000


def test_a_training_costs_its_epochs_and_an_evaluation_before_every_few_steps_and_at_the_end(make_config):
    config = make_config("clm.max_steps=-1", "clm.epochs=2", "clm.eval_steps=1000", "clm.accumulation=2")
    work = work_of(config, "clm")
    priced = price(work, machine_with(rate_for(work, per_second=500, per_item=1.25, validation_per_second=2000)))
    learnt = 8_929_873 * 0.8 * 2 * 1.25
    evaluations = 1 + -(-(learnt / (4 * 2 * 128)) // 1000)
    read = evaluations * 8_929_873 * 0.2 * 1.25
    assert priced.evaluating_hours == pytest.approx(read / 2000 / 3600)
    assert priced.hours == pytest.approx(learnt / 500 / 3600 + read / 2000 / 3600)


def test_max_steps_bounds_a_training_but_does_not_lengthen_it(make_config):
    for steps, expected in ((20, 20 * 4 * 128), (10**9, 8_929_873 * 0.8 * 10)):
        work = work_of(make_config(f"clm.max_steps={steps}", "corpus.validation_share=0.2"), "clm")
        priced = price(work, machine_with(rate_for(work)))
        assert priced.hours - priced.evaluating_hours == pytest.approx(expected / 100 / 3600)


def test_steps_of_sft_are_records_and_every_trained_model_counts(make_config):
    work = work_of(make_config("sft.max_steps=50", "sft.seeds=[0, 1, 2]"), "sft")
    priced = price(work, machine_with(rate_for(work, per_item=80)))
    assert work.left == 6
    assert priced.hours - priced.evaluating_hours == pytest.approx(6 * 50 * 4 * 80 / 100 / 3600)


def test_models_that_are_not_measured_are_trained_all_the_same(make_config):
    measured = "respond.models=['smollm2-135m', 'smollm2-135m-baby-instr']"
    config = make_config(measured, "sft.seeds=[0, 1]", "lens.models=['smollm2-135m']")
    assert (work_of(config, "clm").left, work_of(config, "sft").left) == (1, 4)
    assert work_of(config, "pairs").items == 3 * 57_812


def test_measurements_count_all_models_and_all_answers(make_config):
    config = make_config("respond.samples=2", "respond.greedy=true", "respond.empty_prompts=5", "clm.seeds=[0, 1]")
    assert work_of(config, "answers").items == 5 * (829 * 3 + 5)
    assert work_of(config, "pairs").items == 5 * 57_812


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "other@1"}, "no rate of embedded:smollm2-135m-instruct@sha256:"),
        ({"work": "rewrites"}, "no rate of embedded:smollm2-135m-instruct@sha256:"),
        ({"device": "cuda"}, "measured with device cuda, not cpu"),
        ({"dtype": "bf16"}, "measured with dtype bf16, not fp32"),
        ({"settings": {"writer.batch_size": 64}}, "measured with writer.batch_size 64, not 16"),
    ],
)
def test_a_rate_of_other_work_prices_nothing(config, change, reason):
    work = work_of(config, "stories")
    priced = price(work, machine_with(rate_for(work, **change)))
    assert priced.reason.startswith(reason)
    assert (priced.hours, priced.gigabytes) == (None, None)


def test_work_on_another_device_than_auto_needs_a_rate_of_that_device(make_config):
    work = work_of(make_config("writer.device=cpu"), "stories")
    on_gpu = Rates(
        machine="a machine", device="cuda", dtype="fp16", rates=[rate_for(work, device="cuda", dtype="fp16")]
    )
    assert price(work, on_gpu).reason == "measured with device cuda, not cpu; dtype fp16, not auto"


def test_auto_is_what_it_means_on_the_machine_of_the_rates(config):
    work = work_of(config, "stories")
    on_gpu = Rates(
        machine="a machine", device="cuda", dtype="fp16", rates=[rate_for(work, device="cuda", dtype="fp16")]
    )
    assert price(work, on_gpu).rate is not None


def test_the_plan_has_a_number_for_what_was_measured_and_none_for_the_rest(config):
    work = work_of(config, "stories")
    lines = list(plan(config, machine_with(rate_for(work, per_item=200))))
    rows = {
        line.split()[1]: line.split() for line in lines if line.startswith(("process", "augment", "rewrite", "clm"))
    }
    assert rows["stories"][-4:] == ["100", "tokens/s", "726", "–"]  # of 100M words: the later table
    assert rows["rewrites"][-4:] == ["not", "measured", "–", "–"]
    assert rows["clean"][-3:] == ["not", "measured", "–"]
    assert sum("(1 of 9 rows)" in line for line in lines) == 2
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [
        "clean:", "classify", "rewrites", "clm", "sft", "answers", "pairs", "lens",
    ]  # fmt: skip


def test_lines_of_a_plan_fit_a_wide_terminal(make_config):
    for profile in ("embedded", "paper", "cpu-study"):
        config = make_config(profile=profile)
        everything = machine_with(*(rate_for(work, per_second=1e9) for work in works(config, sizes(config)[0])))
        tables = [line for line in plan(config, everything) if line.startswith(("process", "augment", "clm", "lens"))]
        assert tables and max(map(len, tables)) <= 120


def test_planning_the_paper_reaches_no_network_and_guesses_nothing(monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("a plan looks nothing up")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main(["plan", "--profile", "paper"]) == 0
    out = capsys.readouterr().out
    assert out.count("Known: 0 hours (0 of 14 rows), 0 GB (0 of 7 rows)") == 2
    assert "  clm gpt2-medium: no rate of openai-community/gpt2-medium@" in out


# --- files of rates --------------------------------------------------------------------------------------------------

GIVEN = """
machine = "a lent box"
device = "cuda"
dtype = "bf16"
[[rates]]
work = "stories"
model = "mistralai/Mistral-7B-Instruct-v0.1@2dcff66eac0c01dc50e4c41eea959968232187fe"
device = "cuda"
dtype = "bf16"
settings = { "writer.engine" = "vllm" }
per_second = 2000
per_item = 250
"""


def test_given_rates_price_whatever_machine_they_are_of(tmp_path, capsys):
    file = tmp_path / "box.toml"
    file.write_text(GIVEN)
    assert main(["plan", "--profile", "paper", "--rates", str(file), "--set", "writer.engine=vllm"]) == 0
    assert "2,000 tokens/s   1.72" in capsys.readouterr().out
    assert main(["plan", "--profile", "paper", "--rates", str(file)]) == 0
    assert "writer.engine vllm, not transformers" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("machine = ", "is not TOML"),
        (GIVEN.replace("per_second = 2000", "per_second = -1"), "rates.0.per_second: input should be greater than 0"),
        (GIVEN.replace("per_second", "speed"), "rates.0.per_second: field required"),
        (GIVEN + "colour = 1", "rates.0.colour: extra inputs are not permitted"),
        (GIVEN.replace('"stories"', '"baking"'), "rates.0.work: input should be 'clean', "),
        (GIVEN.replace('"stories"', '"clm"'), "rates.0: a rate of clm needs validation_per_second"),
        (GIVEN.replace('device = "cuda"\ndtype = "bf16"\n[[', "[["), "device: field required"),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_place(tmp_path, capsys, text, says):
    file = tmp_path / "box.toml"
    file.write_text(text)
    with pytest.raises(InputError):
        load_rates(file)
    assert main(["plan", "--rates", str(file)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"emogap: {file}") and says in error and error.count("\n") == 1


def test_json_that_is_none_and_a_file_that_is_not_there(tmp_path):
    file = tmp_path / "box.json"
    with pytest.raises(MissingInput, match="not found; give a JSON or TOML file"):
        load_rates(file)
    file.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        load_rates(file)


def test_a_rate_is_kept_and_replaces_the_older_one_of_the_same_work(config):
    work = work_of(config, "stories")
    for speed in (10, 20):
        keep(rate_for(work, per_second=speed))
    keep(rate_for(work, per_second=30, settings={}))
    assert [rate.per_second for rate in own_rates().rates] == [20, 30]
    assert load_rates(rates_file()) == own_rates()


def test_rates_of_another_machine_are_not_this_ones(config, capsys):
    keep(rate_for(work_of(config, "stories")))
    kept = json.loads(rates_file().read_text())
    rates_file().write_text(json.dumps(kept | {"machine": "another box"}))
    assert main(["plan"]) == 2
    error = capsys.readouterr().err
    assert "holds rates of another machine (another box; this is " in error and error.count("\n") == 1
    assert main(["plan", "--calibrate", "--only", "clean"]) == 2  # before anything is measured
    assert main(["plan", "--rates", str(rates_file())]) == 0


def test_only_without_calibrating_and_unknown_kinds_are_refused(config, capsys):
    assert main(["plan", "--only", "clm"]) == 2
    assert "--only goes with --calibrate" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--only baking: no such kind of work; choose among clean, classify"):
        calibrate.calibrate(config, ["baking"])


# --- measuring -------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes when work is done."""

    def __init__(self, monkeypatch):
        self.now, self.rounds = 0.0, []
        monkeypatch.setattr(calibrate.time, "perf_counter", lambda: self.now)

    def work(self, count: int) -> float:
        self.rounds.append(count)
        self.now += 100 if len(self.rounds) == 1 else 0.5 * count  # the first time is slow
        return 3.0 * count


def test_a_round_is_as_long_as_the_time_and_the_first_one_is_not_timed(monkeypatch):
    clock = Clock(monkeypatch)
    found = calibrate.timed(clock.work, 4, seconds=11)
    assert clock.rounds == [1, 4, 20]
    assert (found.units / found.seconds, found.per_item) == (6.0, 3.0)


def test_a_round_that_takes_longer_than_the_time_is_enough(monkeypatch):
    clock = Clock(monkeypatch)
    assert calibrate.timed(clock.work, 4, seconds=3).units == 12
    assert clock.rounds == [1, 4]


def test_what_fails_is_said_and_has_no_rate_and_the_others_are_kept(config, monkeypatch, capsys):
    def fails(*_):
        raise ModelError("the model is gated\nand more")

    found = calibrate.Measured(units=50, seconds=2, per_item=3)
    monkeypatch.setattr(calibrate, "MEASURES", {"stories": fails, "rewrites": lambda *_: found})
    known = calibrate.calibrate(config, ["stories", "rewrites"])
    assert [(rate.work, rate.per_second, rate.per_item) for rate in known.rates] == [("rewrites", 25, 3)]
    assert capsys.readouterr().out.splitlines() == [
        "stories embedded:smollm2-135m-instruct: cannot be measured: the model is gated",
        "rewrites embedded:smollm2-135m-instruct: 25 tokens/s",
    ]
    assert price(work_of(config, "rewrites"), known).rate  # it fits the work it was measured for
    assert price(work_of(config, "stories"), known).rate is None


def test_a_defect_is_not_taken_for_what_cannot_be_measured(config, monkeypatch):
    def broken(*_):
        raise KeyError("a defect")

    monkeypatch.setattr(calibrate, "MEASURES", {"stories": broken})
    with pytest.raises(KeyError):
        calibrate.calibrate(config, ["stories"])


def test_work_for_a_gpu_that_is_not_there_is_not_measured(make_config, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(calibrate, "MEASURES", {})
    known = calibrate.calibrate(make_config("writer.device=cuda"), ["stories"])
    assert known.rates == []
    assert "cannot be measured: its device is cuda and this machine has no GPU" in capsys.readouterr().out


def test_data_that_are_not_there_leave_no_rate(make_config, tmp_path, capsys):
    known = calibrate.calibrate(make_config(f"blimp.data={tmp_path}"), ["pairs"])
    assert known.rates == []
    assert "cannot be measured: no minimal pairs" in capsys.readouterr().out


def test_the_first_step_of_a_training_warms_up():
    history = [
        {"loss": 1.0, "slots": 10, "seconds": 9.0},
        {"loss": 1.0, "slots": 30, "seconds": 11.0},
        {"loss": 1.0, "slots": 50, "seconds": 13.0},
        {"eval_loss": 1.0, "slots": 50, "seconds": 13.5},
    ]
    assert calibrate._after_first_step({"history": history}) == (40, 4.0)
    assert calibrate._last_evaluation({"history": history}) == 0.5


def test_sft_is_measured_on_what_is_learnt_from_and_says_so_if_that_is_not_there(make_config, tmp_path):
    records, note = calibrate._learnt_records(make_config())
    assert len(records) == 60 and note.startswith("measured on the records before they are rewritten")
    file = tmp_path / "own.json"
    file.write_text(json.dumps([{"instruction": verb, "input": "", "output": "La."} for verb in ("Sing.", "Hum.")]))
    strategy = f"strategies=[{{ name='one', parent='smollm2-135m', task='sft', data='{file}' }}]"
    records, note = calibrate._learnt_records(make_config(strategy, "lens.models=['one']"))
    assert [record["output"] for record in records] == ["La.", "La."] and note == ""


def test_measurements_of_a_tiny_model_fit_its_plan(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(calibrate, "CLEANED_BYTES", 100_000)
    model = save_tiny_gpt2(tmp_path / "tiny", positions=2048)
    config = make_config(f"bases={{ smollm2-135m = {{ name = '{model}' }} }}", "respond.sampling.max_new_tokens=2")
    kinds = ["clean", "answers", "pairs"]
    known = calibrate.calibrate(config, kinds, seconds=0.05)
    assert [rate.work for rate in known.rates] == kinds
    assert all(price(work_of(config, kind), known).hours > 0 for kind in kinds)
    other = make_config("respond.sampling.max_new_tokens=2")
    assert price(work_of(other, "pairs"), known).rate is None  # another model under the same name


@pytest.mark.slow
def test_a_calibrated_embedded_profile_has_a_price_for_everything(make_config, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("EMOGAP_CACHE")  # the model made ready once
    monkeypatch.setattr(rates, "rates_file", lambda: tmp_path / "rates.json")
    config = make_config(
        "writer.batch_size=2", "augment.sampling.max_new_tokens=24", "rewrite.sampling.max_new_tokens=24",
        "respond.batch_size=4", "respond.sampling.max_new_tokens=4",
    )  # fmt: skip
    known = calibrate.calibrate(config, seconds=0.1)
    said = capsys.readouterr().out
    assert [rate.work for rate in known.rates] == list(UNITS) and "cannot be measured" not in said
    by_kind = {rate.work: rate for rate in known.rates}
    assert by_kind["stories"].per_item <= 24 and by_kind["stories"].bytes_each > 500
    assert 1 < by_kind["clm"].per_item < 2 and 400e6 < by_kind["clm"].bytes_each < 700e6
    assert by_kind["sft"].note and by_kind["sft"].validation_per_second > by_kind["sft"].per_second
    lines = list(plan(config, known))
    assert not any("not measured" in line.lower() for line in lines)
    assert sum("(9 of 9 rows)" in line for line in lines) == 2
