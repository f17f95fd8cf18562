"""The engine that sends its prompts to a server with an OpenAI-compatible interface: ``vllm serve``, llama.cpp's
server, Ollama.

Where the server is and its key come from the environment alone. The key is sent to that server and appears nowhere
else: not in messages, not in manifests, not in the representation of any object here.
"""

import asyncio
import math
import os
import queue
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from emogap.config import Sampling
from emogap.errors import ModelError, UsageError
from emogap.lm.engines.engine import Conversation, Finish, Reply, fold_system, plain_text

URL = "OPENAI_BASE_URL"
KEY = "OPENAI_API_KEY"

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second attempt, doubled with each further one, and the most that is ever waited."""

_AGAIN = {408, 409, 425, 429}
"""HTTP statuses besides 5xx after which the same request may succeed."""

_OWN_FAULT = {400, 413, 422}
"""HTTP statuses that blame this one request: that it is too long, say."""

_FINISHES: dict[str, Finish] = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "end_turn": "stop", "stop_sequence": "stop", "length": "length",
    "max_tokens": "length", "max_length": "length", "model_length": "length",
}  # fmt: skip
"""Servers' words for how a reply ended → those of ``Finish``. With another word, or none, it is unknown."""

_NO_REPLY = {
    "content_filter": "the server withheld it", "tool_calls": "the model called a tool in place of answering",
    "function_call": "the model called a function in place of answering", "abort": "the server broke it off",
    "error": "the server broke it off",
}  # fmt: skip
"""Ways of ending after which there is no reply, or only a piece of one."""

_NOT_TAKEN = re.compile(
    "unknown|unrecogni[sz]ed|unsupported|not supported|not support|not permitted|not allowed|unexpected|forbidden", re.I
)
"""How servers refuse a field that they do not take."""


def _vllm(sampling: Sampling) -> dict[str, Any]:
    # vLLM takes from the model's repository what a request leaves out, so nothing is left out.
    return {"top_k": sampling.top_k or -1, "repetition_penalty": sampling.repetition_penalty, "min_p": 0.0}


def _llama_cpp(sampling: Sampling) -> dict[str, Any]:
    penalty = {"repeat_penalty": sampling.repetition_penalty, "repeat_last_n": -1}
    return {"top_k": sampling.top_k, "min_p": 0.0} | penalty


_EXTENSIONS: dict[str, Callable[[Sampling], dict[str, Any]]] = {"vllm": _vllm, "llamacpp": _llama_cpp}
"""``owned_by`` in a server's list of models → its names for the parameters that OpenAI's interface does not have."""


_OFF: dict[str, tuple[float, ...]] = {
    "min_p": (0,), "top_k": (0, -1), "top_p": (1,), "repetition_penalty": (1,), "repeat_penalty": (1,),
}  # fmt: skip
"""Fields of the sampling with the values that do nothing."""


class ServerEngine:
    """A server and one of the models it serves. See ``emogap.lm.engines.engine.Engine``."""

    def __init__(
        self,
        name: str,
        *,
        concurrency: int,
        timeout: float | None,
        attempts: int,
        address: str = "",
        key: Callable[[], str] | None = None,
        content: Callable[[Conversation], dict[str, Any]] | None = None,
    ):
        """Find the server and the model. ``timeout`` in seconds is for one request from its sending to its end.

        ``address`` and ``key`` are the environment's if they are not given; a server whose address is given is asked
        without the environment's proxies. ``content``: conversation → the fields of a completion request that are sent
        in place of its messages.

        Raises ``UsageError`` if the environment's address, key or proxies are missing or wrong, ``ModelError`` if the
        server cannot be reached, refuses the key, or does not serve a model called ``name``.
        """
        self.identity = f"{name}@server"
        self._name, self._concurrency, self._timeout, self._attempts = name, concurrency, timeout, attempts
        self._url, self._key = _address(address), key or _key
        self._proxies = not address
        self._content = content
        self._place = f"{self._url.host}:{self._url.port or self._url.scheme}"
        model = self._find_model()
        self.context = _count(model.get("max_model_len"))
        self._extensions = _EXTENSIONS.get(model.get("owned_by") or "")
        self._told_of_extensions = False
        self._folds_system = self._takes_plain_text = False
        self._not_taken: set[str] = set()
        self._last_answer = float("-inf")

    def as_sent(self, conversation: Conversation) -> str:
        """The messages that go to the server, each under its role: the chat template is the server's."""
        if conversation.plain or self._takes_plain_text:
            return plain_text(conversation.messages)
        messages = fold_system(conversation.messages) if self._folds_system else conversation.messages
        return "\n".join(f"[[{message['role']}]]\n{message['content']}" for message in messages)

    def generate(
        self,
        conversations: Sequence[Conversation],
        sampling: Sampling,
        on_reply: Callable[[Reply], None] | None = None,
    ) -> list[Reply]:
        """See ``Engine.generate``. The seeds are sent; whether equal seeds give equal replies is up to the server.

        Raises ``UsageError`` for a sampling parameter that the server is not known to honour, ``ModelError`` once the
        server answers no request any more. A request that fails alone becomes an ``error`` reply.
        """
        fields = self._fields(sampling)
        replies: dict[int, Reply] = {}
        with _in_background(lambda put: self._request_all(conversations, fields, put)) as results:
            for index, reply in results:
                replies[index] = reply
                if on_reply:
                    on_reply(reply)
        return [replies[index] for index in range(len(conversations))]

    def close(self) -> None:
        """Nothing to give back: the model is the server's."""

    def _find_model(self) -> dict[str, Any]:
        """The model's entry in the server's list: its owner, with vLLM also its context; empty without a list."""
        models = self._listed(self._url)
        if models is None and not self._url.path.endswith("/v1/"):
            models = self._listed(self._url.join("v1/"))
            self._url = self._url if models is None else self._url.join("v1/")
        if models is None:
            print(f"The server at {self._place} lists no models; it is asked for {self._name} all the same.")
            return {}
        named = {str(model.get("id")): model for model in models}
        found = next((name for name in (self._name, f"{self._name}:latest") if name in named), None)
        if found is None:
            served = self._safe(", ".join(named) or "none")
            raise ModelError(f"{self._place} does not serve {self._name} but {served}; set writer.model.name to one")
        return named[found]

    def _listed(self, url: httpx.URL) -> list[dict[str, Any]] | None:
        """The models that a server lists; None if it has no such list at this address."""
        response = self._first_answer(url.join("models"))
        self._check_access(response)
        if response.status_code in (404, 405, 501):
            return None
        try:
            answer = response.json()
            models = answer if isinstance(answer, list) else answer["data"] or []
            if response.is_success and all(isinstance(model, dict) for model in models):
                return models
        except (ValueError, KeyError, TypeError):
            pass
        raise ModelError(
            f"{self._place} does not list its models as an OpenAI-compatible server does "
            f"(HTTP {response.status_code}: {self._safe(response.text)[:80]}); {URL} usually ends in /v1"
        )

    def _first_answer(self, url: httpx.URL) -> httpx.Response:
        wait = 0.0
        for attempt in range(self._attempts):
            time.sleep(wait)
            try:
                response = httpx.get(url, headers=self._headers(), trust_env=self._proxies, timeout=30)
            except httpx.HTTPError as error:
                raise ModelError(
                    f"no server answers at {self._place} ({self._safe(error)}); start one, or correct {URL}"
                ) from None
            # Raised for a proxy or a certificate that the environment names.
            except (ValueError, ImportError, OSError) as error:
                raise UsageError(
                    f"no request can be made to {self._place} ({self._safe(error)}); correct HTTP_PROXY, HTTPS_PROXY, "
                    "ALL_PROXY, SSL_CERT_FILE, or name the server in NO_PROXY"
                ) from None
            if response.status_code != 501 and not self._may_pass(response.status_code):
                break
            wait = _wait(attempt, response)
        return response

    @staticmethod
    def _may_pass(status: int) -> bool:
        """Whether the same request may succeed later."""
        return status in _AGAIN or status >= 500

    def _check_access(self, response: httpx.Response) -> None:
        if response.status_code in (401, 403):
            raise ModelError(f"{self._place} refuses access (HTTP {response.status_code}); correct {KEY}")
        if response.is_redirect:
            there = self._safe(response.headers["location"])
            raise ModelError(f"{self._place} is not there but at {there} (HTTP {response.status_code}); correct {URL}")

    def _headers(self) -> dict[str, str]:
        key = self._key()
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _safe(self, what: object) -> str:
        """One short line without the key."""
        line = " ".join(str(what).split()) or type(what).__name__
        key = self._key()
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
        if not self._told_of_extensions:
            print(f"The server at {self._place} takes neither top_k nor repetition_penalty; its own defaults hold.")
            self._told_of_extensions = True
        return fields

    async def _request_all(
        self, conversations: Sequence[Conversation], fields: dict[str, Any], put: Callable[[tuple[int, Reply]], None]
    ) -> None:
        room = asyncio.Semaphore(self._concurrency)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers(), timeout=None, trust_env=self._proxies
        ) as client:

            async def request(index: int, conversation: Conversation) -> None:
                async with room:
                    put((index, await self._request(client, conversation, fields)))

            tasks = [asyncio.create_task(request(*item)) for item in enumerate(conversations)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _request(self, client: httpx.AsyncClient, conversation: Conversation, fields: dict[str, Any]) -> Reply:
        began = time.monotonic()
        problem, wait = "", 0.0
        for attempt in range(self._attempts):
            await asyncio.sleep(wait)
            wait = _wait(attempt)
            try:
                response = await self._post(client, conversation, fields)
            except TimeoutError:
                problem = f"no answer within {self._timeout:g} s"
                continue
            except httpx.TransportError as error:
                problem = self._safe(error)
                continue
            try:
                status, said, answer = _unpacked(response)
            except _Unreadable as lack:  # truncated, or written by a proxy: the next attempt may succeed
                problem = f"{_CANNOT_BE_READ}: {self._safe(lack)}"
                continue
            problem = f"HTTP {response.status_code}: {self._safe(said)}"
            if self._may_pass(status):
                wait = _wait(attempt, response)
                continue
            self._check_access(response)
            if status in _OWN_FAULT:
                return _failed(conversation, problem, began)
            if status >= 400:
                hint = f"; {URL} usually ends in /v1" if status in (404, 405) else ""
                raise ModelError(f"{self._place}: {problem}{hint}")
            return self._reply(conversation, answer, began)
        problem = f"{problem}, after {self._attempts} attempts"
        if self._last_answer < began:
            what = "sends nothing that can be read" if problem.startswith(_CANNOT_BE_READ) else "answers no more"
            raise ModelError(f"the server at {self._place} {what} ({problem}); look at it and run again")
        return _failed(conversation, problem, began)

    def _reply(self, conversation: Conversation, answer: Any, began: float) -> Reply:
        """The reply in an answer. An answer that cannot be read ends the run if none could be read before; else it is
        an error of this row alone."""
        try:
            reply = _read(conversation, answer, time.monotonic() - began)
        except _Unreadable as lack:
            if self._last_answer == float("-inf"):
                raise ModelError(
                    f"an answer of the server at {self._place} cannot be read: {lack}; it is not OpenAI-compatible, or "
                    f"{URL} names another part of it"
                ) from None
            reply = _failed(conversation, f"{_CANNOT_BE_READ}: {lack}", began)
        except _NoReply as reason:
            reply = _failed(conversation, f"an answer without a reply: {reason}", began)
            self._last_answer = time.monotonic()
        else:
            self._last_answer = time.monotonic()
        return reply

    async def _post(
        self, client: httpx.AsyncClient, conversation: Conversation, fields: dict[str, Any]
    ) -> httpx.Response:
        """The server's answer. If the model's chat template refuses the messages, or the server a field that can be
        left out, the request is sent again in another form."""
        while True:
            plain, folds = conversation.plain or self._takes_plain_text, self._folds_system
            if self._content:
                path, content = "completions", self._content(conversation)
            elif plain:
                path, content = "completions", {"prompt": plain_text(conversation.messages)}
            else:
                messages = fold_system(conversation.messages) if folds else list(conversation.messages)
                path, content = "chat/completions", {"messages": messages}
            optional = {k: v for k, v in (fields | {"seed": conversation.seed}).items() if k not in self._not_taken}
            async with asyncio.timeout(self._timeout):
                response = await client.post(path, json=optional | content)
            if response.status_code not in (400, 422):
                return response
            refusal = _message_in(response)
            if not self._leave_out(refusal, optional) and (plain or not self._adapt(refusal, conversation, folds)):
                return response

    def _leave_out(self, refusal: str, sent: dict[str, Any]) -> bool:
        """Whether the server refused a field that can be left out. Raises ``ModelError`` for one that cannot."""
        named = [field for field in sent if re.search(rf"\b{field}\b", refusal)] if _NOT_TAKEN.search(refusal) else []
        named = [field for field in named if field != "model"]
        if not named:
            return False
        field = named[0]
        if field != "seed" and sent[field] not in _OFF.get(field, ()):
            raise ModelError(
                f"the server at {self._place} does not take {field} = {sent[field]} ({self._safe(refusal)}); change "
                "the sampling, or use vLLM's or llama.cpp's server"
            )
        if field not in self._not_taken:
            lost = "; equal seeds give no equal replies there" if field == "seed" else ""
            print(f"The server at {self._place} does not take {field}, which is left out{lost}.")
        self._not_taken.add(field)
        return True

    def _adapt(self, refusal: str, conversation: Conversation, folded: bool) -> bool:
        """Whether another form of the conversation is worth a try: no template at all, or one without a system role."""
        refusal = refusal.lower()
        if "chat template" in refusal and "role" not in refusal:
            self._takes_plain_text = True
        elif "role" in refusal and not folded and conversation.messages[0]["role"] == "system":
            self._folds_system = True
        else:
            return False
        return True


_CANNOT_BE_READ = "an answer that cannot be read"


class _Unreadable(Exception):
    """An answer that does not have the form of OpenAI's interface: what it lacks."""


class _NoReply(Exception):
    """An answer that says why there is no reply in it."""


def _address(given: str) -> httpx.URL:
    given = given or os.environ.get(URL, "").strip()
    if not given:
        raise UsageError(f"writer.engine=server: {URL} is not set; set it to a server, as http://localhost:8000/v1")
    try:
        url = httpx.URL(given.rstrip("/") + "/")
    except httpx.InvalidURL as error:
        raise UsageError(f"{URL} is no address ({error}); set it to a server, as http://localhost:8000/v1") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"{URL} is no address of a server; it begins as http://localhost:8000/v1 does")
    return url


def _key() -> str:
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{KEY} holds characters that no key has; set it anew")
    return key


def _unpacked(response: httpx.Response) -> tuple[int, str, Any]:
    """The status of an answer, its message and its content. Some servers send an error in an answer with status 200.

    Raises ``_Unreadable`` for what is no JSON.
    """
    status, said, answer = response.status_code, _message_in(response), None
    if response.is_success:
        try:
            answer = response.json()
        except ValueError:
            raise _Unreadable(f"it is no JSON ({said[:80]})") from None
        if isinstance(answer, dict) and answer.get("error"):
            error = answer["error"]
            code = str(error.get("code") if isinstance(error, dict) else "")
            status = int(code) if re.fullmatch("[45][0-9]{2}", code) else 500
    return status, said, answer


def _message_in(response: httpx.Response) -> str:
    """What a server says of an error, without the request, which some repeat in it."""
    try:
        said = response.json()
    except ValueError:
        return response.text
    for name in ("error", "message", "detail"):
        said = said.get(name) or said if isinstance(said, dict) else said
    if isinstance(said, list) and all(isinstance(part, dict) for part in said):
        said = "; ".join(f"{'.'.join(map(str, part.get('loc') or ()))}: {part.get('msg')}" for part in said)
    return str(said)


def _read(conversation: Conversation, answer: Any, seconds: float) -> Reply:
    """The reply in an answer: its text is all that must be there. Raises ``_Unreadable`` and ``_NoReply``."""
    if not isinstance(answer, dict):
        raise _Unreadable(f"it is a {type(answer).__name__}, no object")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise _Unreadable("it has no list of choices")
    if not choices:
        raise _NoReply("its list of choices is empty")
    ending = choices[0].get("finish_reason")
    if why := _NO_REPLY.get(str(ending).lower()):
        raise _NoReply(f"{why} (finish_reason {ending})")
    text = _text(choices[0])
    if text is None:
        raise _NoReply(f"it has no text (finish_reason {ending})")
    usage = answer.get("usage")
    prompt_tokens, new_tokens = (
        _count(usage.get(name)) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
    )
    return Reply(conversation.id, text, prompt_tokens, new_tokens, _FINISHES.get(str(ending).lower()), seconds)


def _text(choice: dict[str, Any]) -> str | None:
    """The text of a completion or of a message, which may come in parts; None if there is none."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else choice.get("text")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content if _is_answer_text(part)]
        content = "".join(part for part in parts if isinstance(part, str)) if parts else None
    if not isinstance(content, str):
        return None
    # A half of a pair of surrogates is no character; it cannot be written to any file.
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_answer_text(part: Any) -> bool:
    """Whether a part of a message is text of the answer: not a thought, not a picture."""
    return isinstance(part, str) or (isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _failed(conversation: Conversation, reason: str, began: float) -> Reply:
    return Reply(conversation.id, "", None, None, "error", time.monotonic() - began, reason)


def _wait(attempt: int, response: httpx.Response | None = None) -> float:
    """Seconds before the next attempt: those that the server names, else more with every attempt."""
    named = _retry_after(response) if response is not None else None
    return min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.5, 1) if named is None else named


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds until the server wants to be asked again, by its header ``Retry-After``: a number, or a date."""
    named = response.headers.get("retry-after", "")
    try:
        seconds = float(named)
    except ValueError:
        try:
            date = parsedate_to_datetime(named)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return None if math.isnan(seconds) else min(LONGEST_WAIT, max(0.0, seconds))


@contextmanager
def _in_background(work: Callable[[Callable[[Any], None]], Awaitable[None]]) -> Iterator[Iterator[Any]]:
    """Run a coroutine in a thread with an event loop of its own (a notebook has one already) and iterate over what it
    puts. An error in the block, Ctrl-C say, cancels it."""
    items: queue.SimpleQueue = queue.SimpleQueue()
    end = object()

    def results() -> Iterator[Any]:
        yield from iter(items.get, end)
        running.result()

    with start_blocking_portal(name="emogap-requests") as portal:
        running = portal.start_task_soon(work, items.put)
        running.add_done_callback(lambda _: items.put(end))
        yield results()
