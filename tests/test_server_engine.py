"""The server engine against a server in the test that fails in every way a server can."""

import json
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from emogap.config import Sampling
from emogap.errors import ModelError, UsageError
from emogap.generate import server_engine
from emogap.generate.engines import Conversation
from emogap.generate.server_engine import ServerEngine

KEY = "sk-very-secret-1234"
SAMPLING = Sampling(temperature=0.5, top_p=0.9, repetition_penalty=1.2, max_new_tokens=7)


class Server(ThreadingHTTPServer):
    """Says the last message back, after the faults that the message names: ``429 429 hello`` fails twice first."""

    daemon_threads = True

    def __init__(self, owner: str = "vllm"):
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner, self.requests, self.tries = owner, [], Counter()
        self.at_once = self.most_at_once = 0
        self.lock, self.released = threading.Lock(), threading.Event()
        self.refuses_system = self.lacks_template = False

    def handle_error(self, request, client_address):
        """A client that went away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.send(401, {"error": f"bad key {self.headers.get('Authorization')}"})
        return self.send(200, {"data": [{"id": "tiny", "owned_by": self.server.owner}]})

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body, self.headers))
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            self.answer(body)
        finally:
            with server.lock:
                server.at_once -= 1

    def answer(self, body):
        server = self.server
        chat = "messages" in body
        text = body["messages"][-1]["content"] if chat else body["prompt"]
        if chat and server.lacks_template:
            return self.send(400, {"error": {"message": "the model has no chat template"}})
        if chat and server.refuses_system and body["messages"][0]["role"] == "system":
            return self.send(400, {"error": {"message": "Conversation roles must alternate user/assistant"}})
        *faults, said = text.split(" ")
        with server.lock:
            done = server.tries[text]
            server.tries[text] += 1
        fault = faults[done] if done < len(faults) else ""
        if fault == "always":
            fault, server.tries[text] = faults[1], 0
        if fault == "hang":
            server.released.wait(30)
            return None
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.wfile.flush()
            return self.connection.shutdown(socket.SHUT_RDWR)
        if fault == "garbage":
            return self.send(200, b"<html>not json")
        if fault == "nousage":
            return self.send(200, {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]})
        if fault:
            return self.send(int(fault), {"error": f"fault {fault} for {self.headers['Authorization']}"})
        time.sleep(0.02)
        content = {"message": {"content": said.upper()}} if chat else {"text": said.upper()}
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        return self.send(200, {"choices": [{**content, "finish_reason": "stop"}], "usage": usage})

    def send(self, status, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def serve(monkeypatch):
    """Starts a server and gives it with an engine that asks it."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(server_engine, "FIRST_WAIT", 0.01)
    servers = []

    def start(owner="vllm", concurrency=4, timeout=5.0, attempts=4):
        server = Server(owner)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
        return server, ServerEngine("tiny", concurrency=concurrency, timeout=timeout, attempts=attempts)

    yield start
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


def ask(*texts: str, plain: bool = False) -> list[Conversation]:
    return [Conversation(f"row-{i}", ({"role": "user", "content": t},), 50 + i, plain) for i, t in enumerate(texts)]


def test_replies_come_in_order_with_what_the_server_counted(serve):
    server, engine = serve()
    heard = []
    replies = engine.generate(ask(*[f"word{i}" for i in range(20)]), SAMPLING, heard.append)
    assert [reply.text for reply in replies] == [f"WORD{i}" for i in range(20)]
    assert {reply.id for reply in heard} == {f"row-{i}" for i in range(20)} and len(heard) == 20
    assert (replies[0].prompt_tokens, replies[0].new_tokens, replies[0].finish) == (5, 3, "stop")
    assert replies[0].seconds > 0
    assert 1 < server.most_at_once <= 4


def test_the_whole_sampling_is_sent(serve):
    server, engine = serve()
    engine.generate(ask("hello"), SAMPLING)
    path, body, _ = server.requests[0]
    assert path == "/v1/chat/completions"
    assert body | {"messages": None} == {
        "model": "tiny", "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 50, "top_k": -1,
        "repetition_penalty": 1.2, "min_p": 0.0, "messages": None,
    }  # fmt: skip


def test_plain_text_goes_to_completions(serve):
    server, engine = serve()
    assert engine.generate(ask("hello", plain=True), SAMPLING)[0].text == "HELLO"
    path, body, _ = server.requests[0]
    assert path == "/v1/completions" and body["prompt"] == "hello"


def test_passing_faults_are_tried_again(serve):
    server, engine = serve()
    texts = ["429 a", "500 503 b", "cut c", "garbage d", "nousage e", "f"]
    assert [reply.text for reply in engine.generate(ask(*texts), SAMPLING)] == list("ABCDEF")
    assert len(server.requests) == 6 + 6


def test_the_wait_that_a_server_asks_for_is_bounded():
    import httpx

    asked = [httpx.Response(429, headers=headers) for headers in ({"retry-after": "3"}, {"retry-after": "9999"}, {})]
    assert [server_engine._asked_wait(response) for response in asked] == [3, server_engine.LONGEST_WAIT, None]


def test_a_hanging_request_is_given_up_and_tried_again(serve):
    _, engine = serve(timeout=0.3)
    started = time.monotonic()
    assert engine.generate(ask("hang a"), SAMPLING)[0].text == "A"
    assert 0.3 <= time.monotonic() - started < 5


def test_a_row_that_keeps_failing_is_rejected_while_others_succeed(serve):
    _, engine = serve(concurrency=2)
    replies = engine.generate(ask("500 500 500 500 bad", *"abcdefgh"), SAMPLING)
    assert [reply.finish for reply in replies] == ["error"] + ["stop"] * 8
    assert "HTTP 500" in replies[0].error and "4 attempts" in replies[0].error
    assert replies[0].prompt_tokens is None


def test_a_request_that_is_at_fault_itself_is_not_repeated(serve):
    server, engine = serve()
    replies = engine.generate(ask("400 400 400 bad", "a"), SAMPLING)
    assert [reply.finish for reply in replies] == ["error", "stop"]
    assert len(server.requests) == 2


@pytest.mark.parametrize("fault", ["500", "429", "cut", "garbage"])
def test_a_server_that_answers_nobody_ends_the_run_in_one_line(serve, fault):
    _, engine = serve()
    with pytest.raises(ModelError, match="answers no more .* after 4 attempts") as caught:
        engine.generate(ask(*[f"{f'{fault} ' * 4}word{i}" for i in range(6)]), SAMPLING)
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)


def test_what_was_finished_before_the_server_died_was_heard(serve):
    server, engine = serve(concurrency=1)
    heard = []

    def hear(reply):
        heard.append(reply.id)
        if len(heard) == 2:
            server.shutdown()
            server.server_close()

    with pytest.raises(ModelError, match="answers no more"):
        engine.generate(ask(*"abcdefgh"), SAMPLING, hear)
    assert heard[:2] == ["row-0", "row-1"]


def test_a_parameter_that_a_server_does_not_know_is_refused(serve, capsys):
    server, engine = serve(owner="somebody")
    with pytest.raises(UsageError, match="sampling.repetition_penalty = 1.2: .* not known to honour"):
        engine.generate(ask("a"), SAMPLING)
    with pytest.raises(UsageError, match="sampling.top_k = 5"):
        engine.generate(ask("a"), Sampling(top_k=5))
    assert not server.requests
    for _ in range(2):
        assert engine.generate(ask("a"), Sampling())[0].text == "A"
    assert capsys.readouterr().out.count("neither top_k nor repetition_penalty") == 1
    assert "top_k" not in server.requests[0][1]


def test_llama_cpp_gets_its_own_names(serve):
    server, engine = serve(owner="llamacpp")
    engine.generate(ask("a"), SAMPLING)
    assert server.requests[0][1]["repeat_penalty"] == 1.2 and server.requests[0][1]["min_p"] == 0


def test_a_template_without_system_role_gets_folded_messages(serve):
    server, engine = serve(concurrency=1)
    server.refuses_system = True
    messages = ({"role": "system", "content": "Be"}, {"role": "user", "content": "kind"})
    replies = engine.generate([Conversation(str(i), messages, i) for i in range(3)], SAMPLING)
    assert [reply.finish for reply in replies] == ["stop"] * 3
    assert len(server.requests) == 4, "refused once, then folded at once"


def test_a_model_without_a_template_gets_plain_text(serve):
    server, engine = serve(concurrency=1)
    server.lacks_template = True
    assert [reply.text for reply in engine.generate(ask("a", "b"), SAMPLING)] == ["A", "B"]
    assert [path for path, *_ in server.requests] == ["/v1/chat/completions", "/v1/completions", "/v1/completions"]


def test_ctrl_c_ends_at_once_with_requests_in_the_air(serve):
    _, engine = serve(timeout=60)
    heard = []

    def hear(reply):
        heard.append(reply.id)
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        engine.generate(ask("a", *[f"always hang {i}" for i in range(5)]), SAMPLING, hear)
    assert time.monotonic() - started < 3 and heard == ["row-0"]
    assert [t for t in threading.enumerate() if t.name.startswith("emogap-requests")] == []


def test_the_key_is_sent_and_said_nowhere(serve, capsys, caplog):
    caplog.set_level("DEBUG")
    server, engine = serve()
    replies = engine.generate(ask("422 a"), SAMPLING)
    assert server.requests[0][2]["Authorization"] == f"Bearer {KEY}"
    assert "***" in replies[0].error
    with pytest.raises(ModelError, match="refuses access") as caught:
        engine.generate(ask("403 b"), SAMPLING)
    seen = [str(replies), str(caught.value), repr(engine), str(vars(engine)), caplog.text, *capsys.readouterr()]
    assert not [text for text in seen if KEY in text]


def test_a_wrong_key_is_said_before_any_work(serve, monkeypatch):
    serve()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-5678")
    with pytest.raises(ModelError, match="refuses access .*; correct OPENAI_API_KEY") as caught:
        ServerEngine("tiny", concurrency=1, timeout=1, attempts=1)
    assert "sk-wrong-5678" not in str(caught.value)


def test_a_server_that_is_not_there_is_said_before_any_work(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://user:password@127.0.0.1:{port}/v1")
    with pytest.raises(ModelError, match=f"no server answers at 127.0.0.1:{port}") as caught:
        ServerEngine("tiny", concurrency=1, timeout=1, attempts=1)
    assert "password" not in str(caught.value)


def test_a_model_that_is_not_served_is_said_with_those_that_are(serve):
    serve()
    with pytest.raises(ModelError, match="does not serve other but tiny"):
        ServerEngine("other", concurrency=1, timeout=1, attempts=1)


def test_without_a_server_in_the_environment_the_setting_is_wrong(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match="OPENAI_BASE_URL is not set"):
        ServerEngine("tiny", concurrency=1, timeout=1, attempts=1)
