"""The engine that asks a server with an OpenAI-compatible interface: ``vllm serve``, llama.cpp's server, Ollama.

Where the server is and its key come from the environment alone. The key is sent to that server and appears nowhere
else: not in messages, not in manifests, not in the representation of any object here.
"""

import asyncio
import os
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from emogap.config import Sampling
from emogap.errors import ModelError, UsageError
from emogap.generate.chat_format import fold_system, plain_text
from emogap.generate.engines import Conversation, Reply

URL = "OPENAI_BASE_URL"
KEY = "OPENAI_API_KEY"

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second attempt, doubled with each further one, and the most that is ever waited."""

_AGAIN = {408, 409, 425, 429}
"""Answers besides 5xx after which the same request may succeed."""

_OWN_FAULT = {400, 413, 422}
"""Answers that blame this one request: too long, say."""


def _vllm(sampling: Sampling) -> dict[str, Any]:
    # What a request leaves out, vLLM takes from the model's repository: nothing is left out.
    return {"top_k": sampling.top_k or -1, "repetition_penalty": sampling.repetition_penalty, "min_p": 0.0}


def _llama_cpp(sampling: Sampling) -> dict[str, Any]:
    return {
        "top_k": sampling.top_k,
        "min_p": 0.0,
        "repeat_penalty": sampling.repetition_penalty,
        "repeat_last_n": -1,
    }


_EXTENSIONS: dict[str, Callable[[Sampling], dict[str, Any]]] = {"vllm": _vllm, "llamacpp": _llama_cpp}
"""By what a server says owns its models: its names for the parameters that OpenAI's interface does not have."""


class ServerEngine:
    """A server and one of the models it serves. See ``emogap.generate.engines.Engine``."""

    def __init__(self, name: str, *, concurrency: int, timeout: float, attempts: int):
        """Find the server and the model. ``timeout`` in seconds is for one request from its sending to its end.

        Raises ``UsageError`` if the environment names no server, ``ModelError`` if the server cannot be reached,
        refuses the key, or does not serve a model called ``name``.
        """
        if not os.environ.get(URL):
            raise UsageError(f"writer.engine=server: {URL} is not set; set it to a server, as http://localhost:8000/v1")
        self.identity = f"{name}@server"
        self._name, self._concurrency, self._timeout, self._attempts = name, concurrency, timeout, attempts
        self._url = httpx.URL(os.environ[URL].rstrip("/") + "/")
        self._place = f"{self._url.host}:{self._url.port or self._url.scheme}"
        self._extensions = _EXTENSIONS.get(self._find_model())
        self._said = False
        self._folds_system = self._takes_plain_text = False
        self._last_answer = float("-inf")

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """See ``Engine.generate``. The seeds are sent; whether equal seeds give equal replies is up to the server.

        Raises ``UsageError`` for a sampling parameter that the server is not known to honour, ``ModelError`` once the
        server answers nobody any more. A request that fails for its own sake is an ``error`` reply.
        """
        fields = self._fields(sampling)
        replies: dict[int, Reply] = {}
        with _in_background(lambda put: self._ask_all(conversations, fields, put)) as results:
            for index, reply in results:
                replies[index] = reply
                if on_reply:
                    on_reply(reply)
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """Nothing to give back: the model is the server's."""

    def _find_model(self) -> str:
        """The owner of the model, as the server names it."""
        try:
            response = httpx.get(self._url.join("models"), headers=self._headers(), timeout=30)
        except httpx.HTTPError as error:
            raise ModelError(
                f"no server answers at {self._place} ({self._safe(error)}); start one, or correct {URL}"
            ) from None
        self._check_access(response)
        try:
            owners = {model["id"]: model.get("owned_by", "") for model in response.json()["data"]}
        except (ValueError, KeyError, TypeError):
            raise ModelError(
                f"{self._place} does not list its models as an OpenAI-compatible server does "
                f"(HTTP {response.status_code}); {URL} usually ends in /v1"
            ) from None
        if self._name not in owners:
            served = self._safe(", ".join(owners) or "none")
            raise ModelError(f"{self._place} does not serve {self._name} but {served}; set writer.model.name to one")
        return owners[self._name]

    def _check_access(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            raise ModelError(f"{self._place} refuses access (HTTP {response.status_code}); correct {KEY}")

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(KEY)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _safe(self, what: object) -> str:
        """One short line without the key."""
        line = " ".join(str(what).split()) or type(what).__name__
        key = os.environ.get(KEY)
        return (line.replace(key, "***") if key else line)[:200]

    def _fields(self, sampling: Sampling) -> dict[str, Any]:
        fields = {
            "model": self._name,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
        }
        if self._extensions:
            return fields | self._extensions(sampling)
        for key, off in (("top_k", 0), ("repetition_penalty", 1)):
            value = getattr(sampling, key)
            if value != off:
                raise UsageError(
                    f"sampling.{key} = {value}: the server at {self._place} is not known to honour it; set it to {off} "
                    "or use vLLM's or llama.cpp's server"
                )
        if not self._said:
            print(f"The server at {self._place} takes neither top_k nor repetition_penalty; its own defaults hold.")
            self._said = True
        return fields

    async def _ask_all(
        self, conversations: Sequence[Conversation], fields: dict[str, Any], put: Callable[[tuple[int, Reply]], None]
    ) -> None:
        room = asyncio.Semaphore(self._concurrency)
        async with httpx.AsyncClient(base_url=self._url, headers=self._headers(), timeout=None) as client:

            async def ask(index: int, conversation: Conversation) -> None:
                async with room:
                    put((index, await self._ask(client, conversation, fields)))

            tasks = [asyncio.create_task(ask(*item)) for item in enumerate(conversations)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, client: httpx.AsyncClient, conversation: Conversation, fields: dict[str, Any]) -> Reply:
        began = time.monotonic()
        problem, wait = "", 0.0
        for attempt in range(self._attempts):
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1)
            try:
                response = await self._post(client, conversation, fields)
                if response.status_code in _AGAIN or response.status_code >= 500:
                    problem = f"HTTP {response.status_code}: {self._safe(response.text)}"
                    wait = _asked_wait(response) or wait
                    continue
                self._check_access(response)
                if response.status_code in _OWN_FAULT:
                    return _failed(conversation, f"HTTP {response.status_code}: {self._safe(response.text)}", began)
                if response.is_error:
                    raise ModelError(f"{self._place}: HTTP {response.status_code}: {self._safe(response.text)}")
                reply = _read(conversation, response.json(), time.monotonic() - began)
            except TimeoutError:
                problem = f"no answer within {self._timeout:g} s"
            except httpx.TransportError as error:
                problem = self._safe(error)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                problem = f"an answer that cannot be read ({self._safe(error)})"
            else:
                self._last_answer = time.monotonic()
                return reply
        problem = f"{problem}, after {self._attempts} attempts"
        if self._last_answer < began:
            raise ModelError(f"the server at {self._place} answers no more ({problem}); look at it and run again")
        return _failed(conversation, problem, began)

    async def _post(
        self, client: httpx.AsyncClient, conversation: Conversation, fields: dict[str, Any]
    ) -> httpx.Response:
        """The server's answer; a request that the model's chat template refuses is put in another form first."""
        while True:
            plain, folds = conversation.plain or self._takes_plain_text, self._folds_system
            if plain:
                path, content = "completions", {"prompt": plain_text(conversation.messages)}
            else:
                messages = fold_system(conversation.messages) if folds else list(conversation.messages)
                path, content = "chat/completions", {"messages": messages}
            async with asyncio.timeout(self._timeout):
                response = await client.post(path, json=fields | content | {"seed": conversation.seed})
            if response.status_code != 400 or plain or not self._adapt(response.text.lower(), conversation, folds):
                return response

    def _adapt(self, refusal: str, conversation: Conversation, folded: bool) -> bool:
        """Whether another form of the conversation is worth a try: no template at all, or one without a system role."""
        if "chat template" in refusal and "role" not in refusal:
            self._takes_plain_text = True
        elif "role" in refusal and not folded and conversation.messages[0]["role"] == "system":
            self._folds_system = True
        else:
            return False
        return True


def _read(conversation: Conversation, answer: dict[str, Any], seconds: float) -> Reply:
    choice, usage = answer["choices"][0], answer["usage"]
    text = choice["text"] if "text" in choice else choice["message"]["content"]
    if choice["finish_reason"] not in ("stop", "length") or not isinstance(text, str):
        raise ValueError(f"finish_reason {choice['finish_reason']}, content a {type(text).__name__}")
    prompt_tokens, new_tokens = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
    return Reply(conversation.id, text, prompt_tokens, new_tokens, choice["finish_reason"], seconds)


def _failed(conversation: Conversation, reason: str, began: float) -> Reply:
    return Reply(conversation.id, "", None, 0, "error", time.monotonic() - began, reason)


def _asked_wait(response: httpx.Response) -> float | None:
    """Seconds that the server asks to be left alone."""
    asked = response.headers.get("retry-after", "")
    return min(LONGEST_WAIT, float(asked)) if asked.isdigit() else None


@contextmanager
def _in_background(work: Callable[[Callable[[Any], None]], Awaitable[None]]) -> Iterator[Iterator[Any]]:
    """Run a coroutine in a thread with an event loop of its own (a notebook has one already) and iterate over what it
    puts. Leaving the block early, on Ctrl-C say, cancels it."""
    items: queue.SimpleQueue = queue.SimpleQueue()
    end = object()
    running: dict[str, Any] = {}
    started = threading.Event()

    async def main() -> None:
        running["loop"], running["task"] = asyncio.get_running_loop(), asyncio.current_task()
        started.set()
        await work(items.put)

    def run() -> None:
        try:
            asyncio.run(main())
            items.put(end)
        except BaseException as error:
            items.put(error)

    def results() -> Iterator[Any]:
        while (item := items.get()) is not end:
            if isinstance(item, BaseException):
                raise item
            yield item

    thread = threading.Thread(target=run, name="emogap-requests", daemon=True)
    thread.start()
    started.wait()
    try:
        yield results()
    finally:
        if thread.is_alive():
            with suppress(RuntimeError):  # the loop may end by itself at this very moment
                running["loop"].call_soon_threadsafe(running["task"].cancel)
            thread.join()
