"""The server engine against a server in the test that fails in every way a server can."""

import json
import socket
import threading
import time
from collections import Counter
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

from emogap.config import Sampling
from emogap.errors import ModelError, UsageError
from emogap.lm.engines import server_engine
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.server_engine import ServerEngine
from emogap.records import RowType, to_arrow

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
        self.models = {"/v1/models": (200, {"data": [{"id": "tiny", "owned_by": owner}]})}
        """Path → status and body of the list of models; any other path is not there."""
        self.answers = None
        """Function of a request's body that gives status and body of the answer, in place of saying it back."""

    def handle_error(self, request, client_address):
        """A client that went away is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.send(401, {"error": f"bad key {self.headers.get('Authorization')}"})
        found = self.server.models.get(self.path, (404, {"error": "no such path"}))
        return self.send(*(found.pop(0) if isinstance(found, list) else found))

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
        if server.answers:
            return self.send(*server.answers(body))
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
        if fault:
            return self.send(int(fault), {"error": f"fault {fault} for {self.headers['Authorization']}"})
        time.sleep(0.02)
        content = {"message": {"content": said.upper()}} if chat else {"text": said.upper()}
        usage = {"prompt_tokens": 5, "completion_tokens": 3}
        return self.send(200, {"choices": [{**content, "finish_reason": "stop"}], "usage": usage})

    def send(self, status, content):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        if status in (301, 308):
            self.send_header("Location", content.decode())
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
    texts = ["429 a", "500 503 b", "cut c", "garbage d", "e", "f"]
    assert [reply.text for reply in engine.generate(ask(*texts), SAMPLING)] == list("ABCDEF")
    assert len(server.requests) == 6 + 5


def test_the_wait_that_a_server_asks_for_is_bounded():
    import httpx

    def asked(value):
        return server_engine._retry_after(httpx.Response(429, headers={} if value is None else {"retry-after": value}))

    longest = server_engine.LONGEST_WAIT
    assert [asked(v) for v in ("3", "0.25", "9999", "inf", "-5")] == [3, 0.25, longest, longest, 0]
    assert [asked(v) for v in (None, "", "nan", "soon", "Wed, 21 Foo 2015")] == [None] * 5
    assert asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    soon = formatdate(time.time() + 20, usegmt=True)
    assert 15 <= asked(soon) <= 20


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


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("500", "answers no more"),
        ("429", "answers no more"),
        ("cut", "answers no more"),
        (
            "garbage",
            r"sends nothing that can be read \(an answer that cannot be read: it is no JSON \(<html>not json\)",
        ),
    ],
)
def test_a_server_that_answers_nobody_ends_the_run_in_one_line(serve, fault, said):
    _, engine = serve()
    with pytest.raises(ModelError, match=f"{said}.* after 4 attempts") as caught:
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


def said(content="Hi.", **more):
    """An answer with no more than what OpenAI's interface must have."""
    return {"choices": [{"message": {"role": "assistant", "content": content}} | more]}


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({}, (None, None)),
        ({"usage": None}, (None, None)),
        ({"usage": {}}, (None, None)),
        ({"usage": {"prompt_tokens": 5, "total_tokens": 8}}, (5, None)),
        ({"usage": {"prompt_tokens": None, "completion_tokens": 3}, "timings": {}, "x": [1]}, (None, 3)),
        ({"usage": {"prompt_tokens": "5", "completion_tokens": True}}, (None, None)),
    ],
)
def test_what_a_server_does_not_count_is_unknown(serve, usage, counts):
    server, engine = serve()
    server.answers = lambda body: (200, said(finish_reason="stop") | usage)
    reply = engine.generate(ask("a"), SAMPLING)[0]
    assert (reply.text, reply.finish, reply.error) == ("Hi.", "stop", None)
    assert (reply.prompt_tokens, reply.new_tokens) == counts
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("given", "finish"),
    [
        ({"finish_reason": "eos"}, "stop"), ({"finish_reason": "end_turn"}, "stop"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"finish_reason": "length"}, "length"), ({"finish_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"), ({"finish_reason": None}, None), ({"finish_reason": ""}, None),
        ({"finish_reason": "well"}, None), ({}, None),
    ],
)  # fmt: skip
def test_how_a_reply_ended_is_known_or_not(serve, given, finish):
    server, engine = serve()
    server.answers = lambda body: (200, said(**given))
    reply = engine.generate(ask("a"), SAMPLING)[0]
    assert (reply.text, reply.finish, reply.error) == ("Hi.", finish, None)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "One "}, {"type": "text", "text": "two."}], "One two."),
        ([{"type": "thinking", "thinking": "hm"}, {"text": "One."}, " Two."], "One. Two."),
        ("", ""),
        ("a \ud83d\ude00 b \ud83d c", "a \U0001f600 b \ufffd c"),
    ],
)
def test_a_text_may_come_in_parts(serve, content, text):
    server, engine = serve()
    server.answers = lambda body: (200, said(content))
    assert engine.generate(ask("a"), SAMPLING)[0].text == text


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said(None, finish_reason="stop"), "it has no text (finish_reason stop)"),
        (said(None), "it has no text (finish_reason None)"),
        (said([{"type": "image"}], finish_reason="stop"), "it has no text"),
        ({"choices": [{"finish_reason": "stop", "message": None}]}, "it has no text"),
        (said(None, finish_reason="tool_calls"), "the model called a tool in place of answering (finish_reason tool_c"),
        (said("Half of", finish_reason="content_filter"), "the server withheld it (finish_reason content_filter)"),
        ({"choices": [], "usage": {"prompt_tokens": 5}}, "its list of choices is empty"),
    ],
)
def test_an_answer_without_a_reply_is_its_rows_error_and_says_why(serve, answer, reason):
    server, engine = serve()
    server.answers = lambda body: (200, answer)
    replies = engine.generate(ask("a", "b"), SAMPLING)
    assert [(reply.finish, reply.text, reply.new_tokens) for reply in replies] == [("error", "", None)] * 2
    assert all(reply.error.startswith("an answer without a reply: ") and reason in reply.error for reply in replies)
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("answer", "lack"),
    [
        ({"response": "Hi."}, "it has no list of choices"),
        ({"choices": None}, "it has no list of choices"),
        ({"choices": ["Hi."]}, "it has no list of choices"),
        (["Hi."], "it is a list, no object"),
        (None, "it is a NoneType, no object"),
    ],
)
def test_an_answer_of_another_form_is_said_and_not_asked_for_again(serve, answer, lack):
    server, engine = serve(concurrency=1)
    server.answers = lambda body: (200, answer)
    with pytest.raises(ModelError, match=f"cannot be read: {lack}; it is not OpenAI-compatible, or OPENAI_BASE_URL"):
        engine.generate(ask("a", "b"), SAMPLING)
    assert len(server.requests) == 1
    server.answers = lambda body: (200, answer if body["messages"][0]["content"] == "bad" else said())
    replies = engine.generate(ask("a", "bad", "b"), SAMPLING)
    assert [reply.text for reply in replies] == ["Hi.", "", "Hi."]
    assert replies[1].error == f"an answer that cannot be read: {lack}"


def test_errors_inside_of_good_answers_are_errors(serve):
    server, engine = serve()
    inside = [{"error": {"code": 429, "message": "later"}}, {"error": "busy"}, {"error": {"code": "503"}}, said()]
    server.answers = lambda body: (200, inside.pop(0))
    assert engine.generate(ask("a"), SAMPLING)[0].text == "Hi."
    server.answers = lambda body: (200, {"error": {"code": 400, "message": "too long"}})
    assert engine.generate(ask("a"), SAMPLING)[0].error == "HTTP 200: too long"
    server.answers = lambda body: (200, {"error": {"message": "no such model"}})
    with pytest.raises(ModelError, match=r"answers no more \(HTTP 200: no such model, after 4 attempts\)"):
        engine.generate(ask("a"), SAMPLING)


REFUSALS = {
    "openai": lambda field, body: (400, {"error": {"message": f"Unrecognized request argument supplied: {field}"}}),
    "pydantic": lambda field, body: (
        422,
        {"detail": [{"loc": ["body", field], "msg": "Extra inputs are not permitted", "input": body}]},
    ),
    "plain": lambda field, body: (400, {"message": f"'{field}' is not supported"}),
}


@pytest.mark.parametrize("form", REFUSALS)
def test_a_field_that_a_server_does_not_take_and_that_does_nothing_is_left_out(serve, form, capsys):
    server, engine = serve(concurrency=1)
    refused = ["seed", "min_p", "top_k"]

    def answers(body):
        found = [field for field in refused if field in body]
        return REFUSALS[form](found[0], body) if found else (200, said())

    server.answers = answers
    assert [reply.text for reply in engine.generate(ask("a", "seed unknown"), SAMPLING)] == ["Hi."] * 2
    assert len(server.requests) == 3 + 2
    assert set(server.requests[-1][1]) == {
        "model", "messages", "temperature", "top_p", "max_tokens", "repetition_penalty"
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert printed.count("does not take seed, which is left out; equal seeds give no equal replies there") == 1
    assert printed.count("does not take min_p, which is left out.") == 1
    refused.append("repetition_penalty")
    with pytest.raises(ModelError, match=r"does not take repetition_penalty = 1.2 \(.*\); change the sampling"):
        engine.generate(ask("b"), SAMPLING)


def test_a_refusal_that_repeats_the_request_blames_no_field_of_it(serve):
    server, engine = serve()
    server.answers = lambda body: (
        422, {"detail": [{"loc": ["body", "messages"], "msg": "not allowed to be so long", "input": body}]}
    )  # fmt: skip
    replies = engine.generate(ask("an unknown seed"), SAMPLING)
    assert replies[0].error == "HTTP 422: body.messages: not allowed to be so long"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "listed",
    [
        {"data": [{"id": "tiny"}]},
        {"data": [{"id": "tiny", "owned_by": None}, {"owned_by": "vllm"}]},
        {"object": "list", "data": [{"id": "tiny:latest", "owned_by": "library"}]},
        [{"id": "tiny"}],
    ],
)
def test_a_list_of_models_need_say_no_more_than_their_names(serve, listed):
    server, _ = serve()
    server.models["/v1/models"] = (200, listed)
    engine = ServerEngine("tiny", concurrency=1, timeout=5, attempts=1)
    assert engine.identity == "tiny@server"
    assert engine.generate(ask("a"), Sampling())[0].text == "A"
    assert server.requests[0][1]["model"] == "tiny" and "top_k" not in server.requests[0][1]


@pytest.mark.parametrize("listed", [{"data": []}, {"data": None}])
def test_a_server_without_models_says_so(serve, listed):
    server, _ = serve()
    server.models["/v1/models"] = (200, listed)
    with pytest.raises(ModelError, match="does not serve tiny but none; set writer.model.name"):
        ServerEngine("tiny", concurrency=1, timeout=5, attempts=1)


def test_a_server_that_lists_no_models_is_asked_all_the_same(serve, capsys):
    server, _ = serve()
    server.models.clear()
    engine = ServerEngine("tiny", concurrency=1, timeout=5, attempts=1)
    assert "lists no models; it is asked for tiny all the same" in capsys.readouterr().out
    assert engine.generate(ask("a"), Sampling())[0].text == "A"
    server.answers = lambda body: (404, {"detail": "Not Found"})
    with pytest.raises(ModelError, match=r"HTTP 404: Not Found; OPENAI_BASE_URL usually ends in /v1"):
        engine.generate(ask("a"), Sampling())


def test_an_address_without_its_v1_is_completed(serve, monkeypatch):
    server, _ = serve()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    engine = ServerEngine("tiny", concurrency=1, timeout=5, attempts=1)
    assert engine.generate(ask("a"), SAMPLING)[0].text == "A"
    assert server.requests[-1][0] == "/v1/chat/completions"


def test_a_server_that_is_still_loading_is_waited_for(serve):
    server, _ = serve()
    ready = server.models["/v1/models"]
    server.models["/v1/models"] = [(503, {"error": {"message": "Loading model"}}), ready]
    ServerEngine("tiny", concurrency=1, timeout=5, attempts=2)
    server.models["/v1/models"] = [(503, {"error": {"message": "Loading model"}})] * 2
    with pytest.raises(ModelError, match="does not list its models .*HTTP 503: .*Loading model"):
        ServerEngine("tiny", concurrency=1, timeout=5, attempts=2)


def test_an_address_that_has_moved_is_said(serve):
    server, engine = serve()
    server.answers = lambda body: (308, b"https://elsewhere/v1")
    with pytest.raises(ModelError, match=r"is not there but at https://elsewhere/v1 \(HTTP 308\); correct OPENAI_BASE"):
        engine.generate(ask("a"), SAMPLING)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OPENAI_BASE_URL", "localhost:8000/v1", "OPENAI_BASE_URL is no address of a server; it begins as http://"),
        ("OPENAI_BASE_URL", "http://[::1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "  ", "OPENAI_BASE_URL is not set"),
        ("OPENAI_API_KEY", "sk-se\ncret", "OPENAI_API_KEY holds characters that no key has"),
        ("OPENAI_API_KEY", "sk-gehéim", "OPENAI_API_KEY holds characters that no key has"),
        ("HTTP_PROXY", "strange://proxy", "no request can be made to .*; correct HTTP_PROXY"),
    ],
)
def test_an_environment_that_names_no_way_to_a_server_is_said(serve, monkeypatch, name, value, said):
    serve()
    if name == "HTTP_PROXY":
        monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said) as caught:
        ServerEngine("tiny", concurrency=1, timeout=1, attempts=1)
    assert "\n" not in str(caught.value) and "sk-" not in str(caught.value)


def test_a_key_is_read_without_the_line_break_behind_it(serve, monkeypatch):
    server, engine = serve()
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert engine.generate(ask("a"), SAMPLING)[0].text == "A"
    assert server.requests[0][2]["Authorization"] == f"Bearer {KEY}"


def test_rates_in_tokens_need_servers_that_count():
    from tools.benchmarks.generate import known_tokens

    assert known_tokens([3, 0], "tiny@server") == [3, 0]
    with pytest.raises(ModelError, match="tiny@server does not say how many tokens a reply has"):
        known_tokens([3, None], "tiny@server")


def test_unknown_counts_and_endings_keep_the_columns_types():
    table = to_arrow(pd.DataFrame({"new_tokens": [3, None], "finish": [None, None]}), RowType("replies", {}))
    assert [str(kind) for kind in table.schema.types] == ["int64", "string"]
    assert table.to_pydict() == {"new_tokens": [3, None], "finish": [None, None]}


def test_what_is_sent_stands_under_roles_and_the_context_is_the_servers(serve):
    server, engine = serve()
    assert engine.context is None
    server.models["/v1/models"][1]["data"][0]["max_model_len"] = 4096
    told = ServerEngine("tiny", concurrency=1, timeout=1, attempts=1)
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."})
    assert told.context == 4096
    assert told.as_sent(Conversation("a", messages, 0)) == "[[system]]\nBe brief.\n[[user]]\nHello."
    assert told.as_sent(Conversation("a", messages, 0, plain=True)) == "Be brief.\n\nHello."
