"""Work spread over a real Ray cluster of two nodes on this machine, one of them killed in mid-run."""

import os
import subprocess
import sys
import threading
import time

import pandas as pd
import pytest
from small_stories import save_lines
from tiny_models import save_tiny_llama

from emogap.config import HubModel, Scale
from emogap.emotion import classify
from emogap.errors import EmogapError, InputError, ModelError, UsageError
from emogap.paths import ROOT
from emogap.records import PROCESSED, REWRITES, STORIES, read_rows
from emogap.store.cluster import ActorPool
from emogap.stories import augment as stories
from emogap.stories import rewrite as rewrites

ray = pytest.importorskip("ray", reason="needs Ray: pip install -r requirements-cluster.txt")
pytestmark = pytest.mark.slow
RAY = Scale(executor="ray")


@pytest.fixture(scope="module")
def two_nodes():
    """A head without a CPU of its own and two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    store = {"object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    nodes = [cluster.add_node(num_cpus=1, **store) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.nodes = nodes
    yield cluster
    ray.shutdown()
    cluster.shutdown()


CHUNKS = 6


@pytest.fixture
def settings(tmp_path):
    """Stories of at most 24 tokens by a tiny model in fp32, eight lines a chunk, four at a time."""
    model = save_tiny_llama(tmp_path / "writer", positions=8192)  # its tokens are single letters or two
    return (
        f"writer.model={{name='{model}'}}", "writer.dtype=fp32", "writer.batch_size=4",
        "augment.methods=['m1']", "augment.chunk_size=8", "augment.lines=0", "augment.order=file",
        "augment.sampling={max_new_tokens=24}", "augment.gates={min_words=1}", "writer.device=cpu",
    )  # fmt: skip


def rows(config) -> pd.DataFrame:
    return pd.concat([read_rows(config.home.chunk("m1", n), STORIES) for n in range(CHUNKS)], ignore_index=True)


def add_node(cluster) -> None:
    cluster.nodes.append(cluster.add_node(num_cpus=1, object_store_memory=100 << 20))


def kill(cluster, node) -> None:
    """The power of a node goes; another is put in its place, for the tests behind."""
    cluster.remove_node(node, allow_graceful=False)
    cluster.nodes = [other for other in cluster.nodes if other is not node]


SAME = ["id", "line_id", "text", "prompt_sha", "seed", "reply", "story", "status", "reason"]


def test_the_cluster_writes_what_one_process_writes(two_nodes, make_config, settings):
    plain = make_config(*settings)
    save_lines(plain, ["joy"] * 8 * CHUNKS)
    stories.augment(plain)
    expected = rows(plain)
    assert expected["new_tokens"].min() > 0, "the model is to write"
    for number in range(CHUNKS):
        plain.home.chunk("m1", number).unlink()
    summary = stories.augment(make_config(*settings, "scale.executor=ray"))
    assert len(summary.made) == CHUNKS
    pd.testing.assert_frame_equal(rows(plain)[SAME], expected[SAME])


def test_a_node_killed_in_mid_run_costs_nothing_and_doubles_nothing(two_nodes, make_config, settings):
    config = make_config(*settings, "scale.executor=ray")
    save_lines(config, ["joy", "fear"] * 4 * CHUNKS)
    stories.augment(make_config(*settings))
    expected = rows(config)
    for number in range(CHUNKS):
        config.home.chunk("m1", number).unlink()
    killed_with = []

    def kill_when_the_first_chunk_stands() -> None:
        while not any(config.home.chunk("m1", number).exists() for number in range(CHUNKS)):
            time.sleep(0.02)
        killed_with.append(sum(config.home.chunk("m1", number).exists() for number in range(CHUNKS)))
        kill(two_nodes, two_nodes.nodes[0])

    killer = threading.Thread(target=kill_when_the_first_chunk_stands)
    killer.start()
    try:
        stories.augment(config)
    finally:
        killer.join(timeout=60)
        add_node(two_nodes)
    assert 1 <= killed_with[0] < CHUNKS, "the node was to be killed in mid-run"
    found = rows(config)
    assert found["line_id"].tolist() == [f"toy:{i}" for i in range(8 * CHUNKS)]
    pd.testing.assert_frame_equal(found[SAME], expected[SAME])
    assert not list(config.home.stories.rglob("*.partial.jsonl"))


REWRITTEN = ["id", "record_id", "emotion", "prompt_sha", "seed", "reply", "attempt", "output", "status", "reason"]


def test_rewrites_of_a_cluster_are_those_of_one_process_though_a_node_is_killed(two_nodes, make_config, settings):
    ours = (*settings, "rewrite.count=40", "rewrite.sampling={max_new_tokens=16}", "writer.batch_size=1",
            "rewrite.gates={min_words=1, retries=1}")  # fmt: skip
    plain = make_config(*ours)
    rewrites.rewrite(plain)
    table = plain.home.rewrite_rows("v1")
    expected = read_rows(table, REWRITES)
    assert expected["new_tokens"].min() > 0, "the model is to write"
    assert {0, 1} <= set(expected["attempt"]), "some are to be asked for again"
    table.unlink()
    killed_with = []

    def kill_when_some_are_answered() -> None:
        journal = table.with_name("emotion_alpaca_v1.partial.jsonl")
        while not journal.exists() or len(journal.read_text().splitlines()) < 6:
            time.sleep(0.02)
        killed_with.append(len(journal.read_text().splitlines()))
        kill(two_nodes, two_nodes.nodes[0])

    killer = threading.Thread(target=kill_when_some_are_answered)
    killer.start()
    try:
        rewrites.rewrite(make_config(*ours, "scale.executor=ray"))
    finally:
        killer.join(timeout=60)
        add_node(two_nodes)
    assert killed_with[0] < len(expected), "the node was to be killed in mid-run"
    pd.testing.assert_frame_equal(read_rows(table, REWRITES)[REWRITTEN], expected[REWRITTEN])


def test_a_cluster_that_stays_without_nodes_ends_the_run_with_one_line(two_nodes):
    def kill_all(*_) -> None:
        for node in list(two_nodes.nodes):
            kill(two_nodes, node)

    try:
        with (
            ActorPool(Scale(executor="ray", wait=1), lambda: (time.sleep, "sleeper")) as workers,
            pytest.raises(EmogapError, match=r"no node of the cluster could hold a worker, for 1 s by now"),
        ):
            workers.run([0.1, *[60] * 3], kill_all)
    finally:
        for _ in range(2):
            add_node(two_nodes)


def emogap(*words) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "emogap", *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_command_joins_the_cluster_whose_address_it_is_given(two_nodes, make_config):
    ours = ("process.sample=40", "process.classifier={name='emotion-tfidf'}", "process.threshold=0.2")
    config = make_config(*ours)
    home = ("--home", config.home.root)
    options = [word for setting in ours for word in ("--set", setting)]
    emogap("process", *home, *options)
    expected = read_rows(config.home.filtered, PROCESSED)
    config.home.processed.unlink()
    emogap("process", *home, *options, "--set", "scale.executor=ray", "--set", f"scale.address={two_nodes.address}")
    pd.testing.assert_frame_equal(read_rows(config.home.filtered, PROCESSED), expected)


def test_classify_starts_a_cluster_of_its_own(tmp_path):
    (tmp_path / "texts.txt").write_text("I am so glad\nWhat a terrible loss\n", encoding="utf-8")
    out = tmp_path / "emotions.parquet"
    emogap("classify", "--in", tmp_path / "texts.txt", "--out", out, "--classifier", "emotion-tfidf", "--ray")
    assert pd.read_parquet(out)["text"].tolist() == ["I am so glad", "What a terrible loss"]


def test_nobody_at_the_address_is_said_at_once(tmp_path):
    started = time.monotonic()
    command = ["classify", "--in", ROOT / "data/sample/plain_text.txt", "--out", tmp_path / "x.parquet"]
    with pytest.raises(AssertionError, match=r"scale\.address = '127\.0\.0\.1:9': no Ray cluster there \(.*refused"):
        emogap(*command, "--ray", "127.0.0.1:9")
    assert time.monotonic() - started < 60


def test_a_worker_killed_with_a_piece_in_hand_has_it_done_by_another(two_nodes, tmp_path):
    def open_worker():
        def work(piece: int) -> int:
            mark = tmp_path / f"{piece}.begun"
            if piece == 3 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), 9)
            return piece * piece

        return work, "squares"

    done: dict[int, list[int]] = {}
    with ActorPool(RAY, open_worker) as workers:
        workers.run(range(10), lambda piece, result: done.setdefault(piece, []).append(result))
    assert done == {piece: [piece * piece] for piece in range(10)}


def test_a_bad_piece_is_named_when_the_others_are_done(two_nodes):
    def open_worker():
        def work(piece: int) -> int:
            if piece == 1:
                raise InputError("piece 1 is bad")
            if piece == 2:
                os.kill(os.getpid(), 9)
            return piece

        return work, "numbers"

    done: list[int] = []
    with ActorPool(RAY, open_worker) as workers, pytest.raises(EmogapError, match=r"piece 1 is bad|3 workers died"):
        workers.run(range(6), lambda piece, _: done.append(piece))
    assert sorted(done) == [0, 3, 4, 5]


def test_what_cannot_load_ends_the_run_with_its_own_error(two_nodes):
    def open_worker():
        raise ModelError("no such model")

    with ActorPool(RAY, open_worker) as workers, pytest.raises(ModelError, match="no such model"):
        workers.run(range(3), lambda piece, result: None)


def test_workers_that_are_loaded_differently_are_refused(two_nodes):
    def open_worker():
        return lambda piece: time.sleep(1), os.getpid()

    with ActorPool(RAY, open_worker) as workers, pytest.raises(ModelError, match="not loaded alike"):
        workers.run(range(100), lambda piece, result: None)


@pytest.mark.parametrize("workers", [0, 2])
def test_no_node_with_room_is_said(two_nodes, workers):
    with (
        pytest.raises(UsageError, match="no node of the cluster has 64 CPUs"),
        ActorPool(Scale(executor="ray", cpus=64, workers=workers), int),
    ):
        pass


def test_shards_scored_by_a_cluster_are_those_of_one_process_and_go_on_after_a_kill(two_nodes, tmp_path, monkeypatch):
    texts = [f"I am so happy about number {i} of all these wonderful presents" for i in range(60)]
    source = tmp_path / "texts.txt"
    source.write_text("\n".join(texts) + "\n", encoding="utf-8")
    monkeypatch.setattr(classify, "SHARD_LINES", 8)
    options = {"model": HubModel(name="emotion-tfidf"), "dtype": "fp32", "device": "cpu"}
    classify.classify_file(source, tmp_path / "plain.parquet", **options)
    keep, kept = classify.Arrays.put, []

    def keep_three(self, number, scores) -> None:
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append(number)
        keep(self, number, scores)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(classify.Arrays, "put", keep_three)
        classify.classify_file(source, tmp_path / "ray.parquet", **options, scale=RAY)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "ray.parquet.partial").glob("*.npy")}
    assert len(before) == 3
    put_again = []
    monkeypatch.setattr(classify.Arrays, "put", lambda self, n, s: (put_again.append(n), keep(self, n, s)))
    classify.classify_file(source, tmp_path / "ray.parquet", **options, scale=RAY)
    assert sorted(map(int, [*kept, *put_again])) == list(range(8))
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "ray.parquet"), pd.read_parquet(tmp_path / "plain.parquet")
    )
