"""Work spread over the cores: an item a core, in order, and torch as it was afterwards."""

import subprocess
import sys
import threading
from importlib import import_module

import pytest
import torch

from emogap.device import check_device, map_over_cores, pick_device, read_one_behind
from emogap.errors import UsageError


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def in_new_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_results_come_in_order_and_torch_keeps_its_threads(threads):
    assert list(map_over_cores(lambda item: item * item, list(range(50)))) == [i * i for i in range(50)]
    assert torch.get_num_threads() == threads
    assert in_new_thread(torch.get_num_threads) == threads


def test_every_item_is_computed_by_one_thread_and_all_cores_have_one_at_a_time(threads):
    all_at_work = threading.Barrier(threads)

    def work(_):
        all_at_work.wait(timeout=30)  # breaks unless as many items are under way as there are threads
        return torch.get_num_threads()

    assert list(map_over_cores(work, [0] * threads)) == [1] * threads


def test_a_batch_is_read_when_the_next_is_launched():
    done = []
    launch, read = lambda item: done.append(f"launch {item}") or item, lambda item: done.append(f"read {item}") or -item
    assert list(read_one_behind(launch, read, iter([1, 2, 3]))) == [-1, -2, -3]
    assert done == ["launch 1", "launch 2", "read 1", "launch 3", "read 2", "read 3"]
    assert list(read_one_behind(launch, read, [])) == []


def test_an_item_that_fails_ends_the_rest(threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise ValueError("made up")

    with pytest.raises(ValueError, match="made up"):
        list(map_over_cores(work, list(range(10_000))))
    assert len(begun) < 10_000
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("wanted", ["gpu", "", "cuda:x", "cuda:7", "mps", "meta", "xpu:0"])
def test_a_device_that_this_machine_has_not_is_one_line(wanted):
    with pytest.raises(UsageError, match="auto") as caught:
        pick_device(wanted)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="^blimp.device: "):
        check_device(wanted, "blimp.device")


def test_a_processor_goes_by_one_name():
    assert pick_device("cpu") == pick_device("cpu:0") == "cpu"


def test_torch_is_not_loaded_to_say_that_a_processor_is_there():
    code = "import sys; from emogap.device import check_device as c; c('auto', ''); c('cpu', ''); "
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def no_work(monkeypatch):
    """Fails the test where anything long is begun."""
    for place in ("emogap.babylm.process.clean", "emogap.emotion.classify.count_texts", "emogap.lm.hub._from_hub"):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("work was begun"))


@pytest.mark.parametrize(
    ("setting", "module", "stage"),
    [
        ("process.device", "emogap.babylm.process", "process"),
        ("clm.device", "emogap.train.causal_lm", "clm"),
        ("sft.device", "emogap.train.sft", "sft"),
        ("respond.device", "emogap.answers.respond", "respond"),
        ("respond.device", "emogap.study.evaluate", "evaluate"),
        ("respond.device", "emogap.study.evaluate", "measure_sentiment"),
        ("blimp.device", "emogap.study.evaluate", "evaluate"),
        ("emobench.device", "emogap.study.evaluate", "evaluate"),
    ],
)
def test_a_stage_says_at_its_beginning_that_a_device_is_not_there(make_config, monkeypatch, setting, module, stage):
    no_work(monkeypatch)
    with pytest.raises(UsageError, match=rf"^{setting}: there is no device cuda:9 on this machine"):
        getattr(import_module(module), stage)(make_config(f"{setting}=cuda:9"))


def test_models_by_name_and_files_are_checked_as_early(make_config, monkeypatch, tmp_path):
    from emogap.config import HubModel
    from emogap.emotion.classify import classify_file
    from emogap.lm.engines.open_engine import open_engine
    from emogap.study.evaluate import TASKS

    no_work(monkeypatch)
    models = {"m": HubModel(name="someone/model")}
    for task in TASKS:
        config = make_config(f"{task.name}.device=cuda:9")
        begun = (lambda c, t=task: t.of_models(c, models),
                 lambda c, t=task: t.to_file(c, models, tmp_path / "x"))  # fmt: skip
        for begin in begun:
            with pytest.raises(UsageError, match=f"^{task.name}.device: there is no device cuda:9"):
                begin(config)
    with pytest.raises(UsageError, match="^writer.device: there is no device cuda:9"):
        open_engine(make_config("writer.device=cuda:9").writer)
    with pytest.raises(UsageError, match="^--device: there is no device cuda:9"):
        classify_file(
            tmp_path / "a.txt", tmp_path / "a.parquet", model=HubModel(name="emotion-minilm"), device="cuda:9"
        )
