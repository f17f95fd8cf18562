"""The whole study on a random model of two layers, its writer a server in the test: every stage in seconds.

Stages run in children of a fork server that has imported everything, so that a child works from its first moment on
and can be killed at any.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from emogap.commands.cli import main
from emogap.config import Config, load_config
from emogap.store import pieces

SETTINGS = """
extends = "embedded"
controls = false
bases = {{ smollm2-135m = {{ name = "{model}" }} }}
[writer]
engine = "server"
model = {{ name = "tiny" }}
batch_size = 4
[process]
device = "cpu"
[augment]
lines = 8
chunk_size = 4
gates = {{ min_words = 5 }}
[rewrite]
count = 12
[clm]
max_steps = 6
eval_steps = 2
precision = "fp32"
[sft]
max_steps = 4
eval_steps = 2
precision = "fp32"
[respond]
batch_size = 4
dtype = "fp32"
sampling = {{ max_new_tokens = 6 }}
[sentiment]
bootstrap = 100
[blimp]
items = 4
[emobench]
items = 2
[stats]
workers = 1
[lens]
sentences = "{folder}/sentences.txt"
prompts = "{folder}/openings.json"
bootstrap = 100
new_tokens = 4
"""
IMPORTS = (
    "torch", "transformers", "datasets", "trl", "peft", "sklearn.feature_extraction.text", "scipy.stats", "nltk",
    "pandas", "polars", "matplotlib.pyplot", "transformers.models.gpt2.modeling_gpt2", "transformers.models.bert",
    "emogap.babylm.process", "emogap.stories.augment", "emogap.lm.engines.server_engine", "emogap.corpus.compile",
    "emogap.stories.rewrite", "emogap.train.causal_lm", "emogap.train.sft", "emogap.train.trainer",
    "emogap.study.evaluate", "emogap.lens.stage", "emogap.lens.logit_lens",
    "emogap.textstats.stage", "emogap.report.page", "emogap.lm.engines.transformers_engine",
    "emogap.lm.sentence_scores", "emogap.lens.figures", "emogap.textstats.figures",
)  # fmt: skip


def profile_file(folder: Path) -> Path:
    """A profile of that study, with its model beside it."""
    from tiny_models import save_tiny_gpt2

    model = save_tiny_gpt2(folder / "tiny-base", dropout=0.0, positions=2048)
    (folder / "sentences.txt").write_text("The old dog ran over the hill.\n")
    (folder / "openings.json").write_text(json.dumps({"joy": ["The children came home and we were"]}))
    file = folder / "tiny.toml"
    file.write_text(SETTINGS.format(model=model, folder=folder))
    return file


class Writer(ThreadingHTTPServer):
    """Answers as a model would that does what it is asked: the reply depends on the prompt and its seed alone."""

    daemon_threads = True
    OPENINGS = ("Oh, how lovely!", "What a wonderful day this is!", "My heart is full.", "I can hardly believe it!")
    THINGS = ("the red kite", "a small brown dog", "the long wooden bridge", "her old blue boat", "his grandmother")
    DEEDS = ("danced over the hill", "sang to the children", "laughed in the rain", "waited by the warm stove",
             "found the lost key", "ran along the river", "wept for a while")  # fmt: skip

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def reply(self, prompt: str, seed: int) -> str:
        number = int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:6], "big")

        def one_of(words):
            nonlocal number
            number, index = divmod(number, len(words))
            return words[index]

        if "Answer: " in prompt:
            answer = prompt.rsplit("Answer: ", 1)[1].rsplit("\nRewritten answer:", 1)[0].strip()
            return f"{one_of(self.OPENINGS)} {answer} Is that not something to be glad of?"
        told = [f"Then {one_of(self.THINGS)} was there and somebody {one_of(self.DEEDS)} with them." for _ in range(4)]
        return " ".join([one_of(self.OPENINGS), *told, "And that was the end of it."])

    def fault(self, headers: dict[str, str], path: str) -> tuple[int, object] | None:
        """Status and answer to send instead of a reply."""
        return None

    def handle_error(self, request, client_address):
        """A client that was killed is part of these tests."""


class _Answer(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send(
            *(self.server.fault(self.headers, self.path) or (200, {"data": [{"id": "tiny", "owned_by": "vllm"}]}))
        )

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if fault := self.server.fault(self.headers, self.path):
            return self.send(*fault)
        text = self.server.reply(body["messages"][-1]["content"], body["seed"])
        time.sleep(0.02)  # so that a kill may fall between two replies
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": len(text.split())}
        return self.send(200, {"choices": [choice], "usage": usage})

    def send(self, status, answer):
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Study:
    """One home of the study and the environment that its stages run in."""

    def __init__(self, profile: Path, home: Path, url: str):
        self.profile, self.home = profile, home
        self.environment = {"OPENAI_BASE_URL": url, "EMOGAP_CACHE": str(home.with_name(home.name + "-cache"))}

    @property
    def config(self) -> Config:
        return load_config(str(self.profile), self.home)

    @property
    def log(self) -> Path:
        """What stages said."""
        return self.home.with_name(self.home.name + ".log")

    def copy(self, home: Path) -> "Study":
        shutil.copytree(self.home, home, dirs_exist_ok=True)
        return Study(self.profile, home, self.environment["OPENAI_BASE_URL"])

    def start(self, function: str) -> multiprocessing.Process:
        """Run ``module:function(config)``, or the pieces that it gives, in a child."""
        return self._child(_run_function, self.log, function)

    def run(self, function: str) -> float:
        """Run it to its end; how many seconds it took. It must end well."""
        begun = time.monotonic()
        child = self.start(function)
        child.join(300)
        assert child.exitcode == 0, self.log.read_text()[-3000:]
        return time.monotonic() - begun

    def start_command(self, *words: str) -> tuple[multiprocessing.Process, Path]:
        """Run ``emogap WORDS`` for this home in a child; the child and the file that holds what it says."""
        log = self.home.with_name(f"{self.home.name}-{time.monotonic_ns()}.log")
        return self._child(_run_command, log, words), log

    def command(self, *words: str) -> tuple[int, str]:
        """Its exit code and what it said."""
        child, log = self.start_command(*words)
        child.join(300)
        return child.exitcode, log.read_text()

    def _child(self, target, log: Path, what) -> multiprocessing.Process:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tiny_study", *IMPORTS])
        child = context.Process(
            target=target, args=(what, str(self.profile), str(self.home), str(log), self.environment)
        )
        child.start()
        return child


def _run_function(function: str, profile: str, home: str, log: str, environment: dict[str, str]) -> None:
    _prepare(log, environment)
    module, name = function.split(":")
    done = attrgetter(name)(import_module(module))(load_config(profile, home))
    if name.endswith("pieces"):
        pieces.run(name, done)


def _run_command(words: tuple[str, ...], profile: str, home: str, log: str, environment: dict[str, str]) -> None:
    _prepare(log, environment)
    sys.exit(main([*words, "--profile", profile, "--home", home]))


def _prepare(log: str, environment: dict[str, str]) -> None:
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
