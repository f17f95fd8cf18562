"""Handing a model to a hub, which here is a server of this process."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from emogap.artefacts import Artefact, Recipe
from emogap.cli import main
from emogap.errors import InputError, MissingInput, ModelError, UsageError
from emogap.train.push import push

REPO = "someone/small-model"


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as an upload of small files takes."""

    def do_POST(self):
        hub = self.server
        hub.tokens.add(self.headers.get("authorization"))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if hub.refuses:
            return self.answer({"error": "You may not write here"}, 403)
        if self.path == "/api/repos/create":
            hub.created = json.loads(body)
            return self.answer({"url": f"http://127.0.0.1:{hub.server_port}/{REPO}", "name": REPO, "id": REPO})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            listed = json.loads(body)["files"]
            return self.answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in listed]}
            )
        if "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return self.answer(
                {"commitUrl": f"http://127.0.0.1:{hub.server_port}/{REPO}/commit/1", "commitOid": "1", "success": True}
            )
        return self.answer({"error": self.path}, 404)

    def do_GET(self):
        self.answer({"id": REPO, "modelId": REPO, "sha": "0", "siblings": [], "private": True, "xetEnabled": False})

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.tokens, server.refuses = {}, set(), False
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)  # read when the library was imported
    monkeypatch.setenv("HF_TOKEN", "secret-of-mine")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()


@pytest.fixture
def model(config):
    artefact = Artefact(config.home.model("small"), Recipe("clm"), is_folder=True)
    with artefact.making() as draft:
        (draft.path / "model.safetensors").write_bytes(b"\0" * 64)
        (draft.path / "README.md").write_text("---\nlanguage: en\n---\n# small\n")
        (draft.path / "training.json").write_text("{}")
    return artefact.path


def test_without_upload_it_only_says_what_it_would_send(config, model, hub):
    said = push(config, "small", REPO)
    assert "model.safetensors  64 bytes" in said and "nothing was sent" in said
    assert not hub.tokens


def test_the_folder_arrives_as_it_is(config, model, hub):
    assert f"{REPO}/commit/1" in push(config, "small", REPO, upload=True)
    assert hub.files == {path.name: path.read_bytes() for path in model.iterdir()}
    assert hub.tokens == {"Bearer secret-of-mine"}


def test_a_new_repository_is_private_unless_it_is_to_be_public(config, model, hub):
    push(config, "small", REPO, upload=True)
    assert hub.created["visibility"] == "private"
    push(config, "small", REPO, upload=True, public=True)
    assert hub.created["visibility"] == "public"


def test_a_refusal_is_one_line_without_the_token(config, model, hub):
    hub.refuses = True
    with pytest.raises(ModelError, match=f"small was not sent to {REPO}: .*403") as error:
        push(config, "small", REPO, upload=True)
    assert "\n" not in str(error.value) and "secret-of-mine" not in str(error.value)


def test_without_a_token_nothing_is_tried(config, model, hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UsageError, match="set HF_TOKEN"):
        push(config, "small", REPO, upload=True)
    assert not hub.tokens


def test_a_model_that_is_not_there_or_was_changed_is_not_sent(config, model, hub):
    with pytest.raises(MissingInput, match="models/other not found"):
        push(config, "other", REPO, upload=True)
    (model / "model.safetensors").write_bytes(b"changed")
    with pytest.raises(InputError, match="bytes were changed"):
        push(config, "small", REPO, upload=True)


def test_the_command_checks_the_name_of_the_repository(config, model, capsys):
    home = ["--home", str(config.home.root)]
    assert main(["push", "small", "--to", "not/a/name", *home]) == 2
    assert "write OWNER/NAME" in capsys.readouterr().err
    assert main(["push", "small", "--to", REPO, *home]) == 0
