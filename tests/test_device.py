"""Work spread over the cores: an item a core, in order, and torch as it was afterwards."""

import threading

import pytest
import torch

from emogap.device import map_over_cores


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
    assert list(map_over_cores(lambda item: item * item, list(range(50)), "cpu")) == [i * i for i in range(50)]
    assert torch.get_num_threads() == threads
    assert in_new_thread(torch.get_num_threads) == threads


def test_every_item_is_computed_by_one_thread_and_all_cores_have_one_at_a_time(threads):
    all_at_work = threading.Barrier(threads)

    def work(_):
        all_at_work.wait(timeout=30)  # breaks unless as many items are under way as there are threads
        return torch.get_num_threads()

    assert list(map_over_cores(work, [0] * threads, "cpu")) == [1] * threads


def test_a_gpu_takes_one_item_after_another_in_the_callers_thread():
    caller = threading.get_ident()
    assert set(map_over_cores(lambda _: threading.get_ident(), range(5), "cuda")) == {caller}


def test_an_item_that_fails_ends_the_rest(threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 3:
            raise ValueError("made up")

    with pytest.raises(ValueError, match="made up"):
        list(map_over_cores(work, list(range(10_000)), "cpu"))
    assert len(begun) < 10_000
    assert torch.get_num_threads() == threads
