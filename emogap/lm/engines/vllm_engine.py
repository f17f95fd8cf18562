"""The engine that runs a model in vLLM: a server of its own, ``vllm serve``, asked through the server engine.

vLLM does not give a GPU's memory back while its process lives. Here it leads a process group; closing the engine ends
the group and waits until it is gone, so that the whole memory is free again. vLLM has a virtual environment of its own
(``.venv-vllm``), so that its packages need not agree with the project's.
"""

import contextlib
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import httpx

from emogap.config import Sampling, Writer
from emogap.device import pick_device, pick_dtype
from emogap.errors import ModelError
from emogap.lm.attention_reach import context_length
from emogap.lm.engines.engine import ChatFormat, Conversation, Reply, end_tokens, without_room
from emogap.lm.engines.server_engine import ServerEngine
from emogap.lm.hub import LocalModel
from emogap.lm.loading import load_tokenizer, read_config
from emogap.paths import ROOT

ENVIRONMENT = ROOT / ".venv-vllm"
"""The virtual environment in which ``make vllm`` and ``make vllm-cpu`` install vLLM."""
SERVE = ("-m", "vllm.entrypoints.openai.api_server", "--model")
"""``vllm serve`` as a module: the program of that name does not start in vLLM's CPU build."""
LONGEST_CONTEXT = 8192
"""The most tokens of prompt and reply together that memory is reserved for."""
CPU_CACHE = 2 * 1024**3
"""Bytes of a CPU's memory for keys and values: several rows of the longest context for a model of 7B."""
GRACE = 5.0
"""Seconds that processes are given to end by themselves: those that are killed leave shared memory behind."""
PATIENCE = 30.0
"""Seconds that killed processes are given to be gone."""
MOST_REQUESTS = 256
"""Requests in flight at one time. vLLM works on as many of them as its memory holds."""
NAME = "writer"
"""What the model is called in requests."""
_ENDS_WITH_ITS_PARENT = f"""
exec 3<&0
{{ read -r _ <&3; trap "" TERM; kill -TERM 0; sleep {GRACE:g}; kill -KILL 0; }} &
exec "$@" </dev/null 3<&-"""
"""A shell that becomes the given command. Beside it, a second process waits for the end of standard input, a pipe whose
other end the parent holds, so that the whole group dies when the parent does, however that happens."""
_ERROR = re.compile(r"(?:^|\s)([\w.]*Error(?:: .*)?)$")
"""What the last line of a traceback ends with."""
_LACKS_THE_PLUGIN = """
from importlib.util import find_spec
if find_spec("vllm") and not (find_spec("vllm_bnb_plugin") and find_spec("bitsandbytes")):
    print("it does")
"""


class VllmEngine:
    """A causal language model in vLLM. See ``emogap.lm.engines.engine.Engine``."""

    def __init__(self, local: LocalModel, writer: Writer):
        """Start vLLM with the model. Raises ``ModelError`` if vLLM is not there or cannot run it."""
        self.identity = local.identity
        tokenizer = load_tokenizer(local.path)
        self._format = ChatFormat(tokenizer)
        self._ends = sorted(end_tokens(local.path, tokenizer))
        self.context = reserved_context(local.path)
        self._command = serve_command(local.path, writer, self.context)
        self._requests: dict[str, dict[str, Any]] = {}
        self._server: Server | None = Server(self._command)
        self._engine = self._connect()

    def as_sent(self, conversation: Conversation) -> str:
        """See ``Engine.as_sent``."""
        return self._format.text(conversation)

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """See ``Engine.generate``. A row is sampled from its own seed; its reply may still change with the rows beside
        it, by rounding, in fp32 rarely. A call that is broken off ends the process; the next one starts another."""
        replies: dict[int, Reply] = {}
        shared, before = 0.0, time.monotonic()

        def finish(index: int, reply: Reply) -> None:
            replies[index] = reply
            if on_reply:
                on_reply(reply)

        def take_in(reply: Reply) -> None:
            # A row's share of the time: for each interval between replies, its length divided by the unfinished rows.
            nonlocal shared, before
            now = time.monotonic()
            shared, before = shared + (now - before) / len(self._requests), now
            del self._requests[reply.id]
            index = int(reply.id)
            finish(index, replace(reply, id=conversations[index].id, seconds=shared))

        self._requests = {}
        for index, conversation in enumerate(conversations):
            prompt = self._format.encode(conversation)
            if unfit := without_room(conversation, prompt, self.context):
                finish(index, unfit)
            else:
                self._requests[str(index)] = self._content(prompt, sampling)
        if self._server is None:
            self._server = Server(self._command)
            self._engine = self._connect()
        try:
            self._engine.generate([replace(conversations[int(n)], id=n) for n in self._requests], sampling, take_in)
        except BaseException as error:
            ended = self._server.has_ended() and f"vLLM's process has ended: {self._server.last_error()}"
            self.close()
            if ended and isinstance(error, ModelError):
                raise ModelError(ended) from error
            raise
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """End vLLM's processes and see them gone. Raises ``ModelError`` if one will not go."""
        if self._server is not None:
            server, self._server = self._server, None
            server.end()

    def _connect(self) -> ServerEngine:
        return ServerEngine(
            NAME, concurrency=MOST_REQUESTS, timeout=None, attempts=1, address=self._server.url,
            key=lambda: self._server.key, content=lambda conversation: self._requests[conversation.id],
        )  # fmt: skip

    def _content(self, prompt: list[int], sampling: Sampling) -> dict[str, Any]:
        """A request's fields for one row. The prompt is sent as token ids, made by the code that all engines share."""
        limit = min(sampling.max_new_tokens, self.context - len(prompt))
        return {"prompt": prompt, "max_tokens": limit, "stop_token_ids": self._ends}


def reserved_context(folder: Path) -> int:
    """Tokens of prompt and reply that memory is reserved for: what the model in a folder reads, up to a bound."""
    return min(context_length(read_config(folder)) or LONGEST_CONTEXT, LONGEST_CONTEXT)


def serve_command(folder: Path, writer: Writer, context: int) -> list[str]:
    """The command that serves the model in a folder, without host and port. Raises as ``check_installed`` does."""
    device = pick_device()
    command = [
        *check_installed(writer), str(folder), "--served-model-name", NAME,
        "--dtype", str(pick_dtype(device, writer.dtype)).removeprefix("torch."),
        "--max-model-len", str(context),
        # A prompt that is read in pieces breaks per-row seeds on a CPU.
        "--no-enable-chunked-prefill", "--max-num-batched-tokens", str(LONGEST_CONTEXT),
        "--enable-prefix-caching",
        # Requests set the sampling; the defaults in the model's repository are ignored.
        "--generation-config", "vllm",
    ]  # fmt: skip
    if writer.quantization == "nf4":
        command += ["--quantization", "bitsandbytes"]
    if device == "cpu":
        # There compiling takes longer than the whole of a small run, and a share of the whole memory, which is the
        # default, is more than a machine with other work has left.
        command += ["--enforce-eager", "--kv-cache-memory-bytes", str(CPU_CACHE)]
    return command + list(writer.vllm_options)


def check_installed(writer: Writer) -> list[str]:
    """The command that starts vLLM, without the model's folder. Raises ``ModelError`` if there is no such program, or
    if it lacks what 4-bit weights need."""
    command = shlex.split(writer.vllm) or [str(ENVIRONMENT / "bin" / "python"), *SERVE]
    if shutil.which(command[0]) is None:
        raise ModelError(
            f"writer.engine=vllm: there is no program {command[0]}; run `make vllm` on a GPU or `make vllm-cpu`, name "
            "another in writer.vllm, or use writer.engine=transformers"
        )
    if writer.quantization == "nf4":
        _check_plugin(command)
    return command


def _check_plugin(command: Sequence[str]) -> None:
    """Raises ``ModelError`` without the package by which vLLM, since release 0.28, reads 4-bit weights. A vLLM that is
    no package beside the program (in a container, say) cannot be checked."""
    python = Path(shutil.which(command[0])).with_name("python")
    if python.exists() and subprocess.run([python, "-c", _LACKS_THE_PLUGIN], capture_output=True, check=False).stdout:
        raise ModelError(
            f"writer.quantization=nf4: vLLM in {python.parent.parent} needs the package vllm-bnb-plugin; run "
            f"`{python} -m pip install --no-deps bitsandbytes vllm-bnb-plugin`, or use writer.quantization=none"
        )


class Server:
    """The process group that ``vllm serve`` leads, on a loopback port that answers only requests with the key."""

    def __init__(self, command: Sequence[str]):
        """Start it and wait until it answers. Raises ``ModelError`` if it ends before."""
        self.key = secrets.token_urlsafe(24)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}/v1"
        self._log: TextIO = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        # The key is passed in the environment: everybody on the machine can read a command line.
        environment = os.environ | {"VLLM_API_KEY": self.key}
        environment.setdefault("VLLM_NO_USAGE_STATS", "1")
        # On a CPU vLLM keeps one core for its scheduler, which is half of a small machine.
        environment.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _ENDS_WITH_ITS_PARENT, "sh", *command, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.end()
            raise

    @property
    def group(self) -> int:
        return self._process.pid  # it leads a session, so its group has its process id

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def last_error(self) -> str:
        """The last error in its log that is a cause of its own, or else the last line."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        wrong = [found[1] for line in lines if (found := _ERROR.search(line)) and "See root cause above" not in line]
        return (wrong or lines or ["it wrote nothing"])[-1][-300:]

    def end(self) -> None:
        """Ask the group to end, kill what does not, and see that nothing of it is left."""
        left = self._signal(signal.SIGTERM, GRACE) and self._signal(signal.SIGKILL, PATIENCE)
        if left:
            raise ModelError(f"vLLM's processes {left} were killed and are still there; end them by hand")
        self._process.wait()
        for stream in (self._process.stdin, self._log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _signal(self, number: int, seconds: float) -> list[int]:
        """Send a signal to the group and wait up to ``seconds``. Returns the processes that are still there then."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, number)
        deadline = time.monotonic() + seconds
        while (left := alive(self.group)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left

    def _wait(self) -> None:
        with httpx.Client(trust_env=False, timeout=5) as client:
            while not self.has_ended():
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(self.url.removesuffix("/v1") + "/health").is_success:
                        return
                time.sleep(0.3)
        raise ModelError(f"vLLM did not start: {self.last_error()}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def alive(group: int) -> list[int]:
    """Processes of a group, without zombies."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
