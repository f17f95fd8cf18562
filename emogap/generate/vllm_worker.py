"""What runs in vLLM's own process: ``python -m emogap.generate.vllm_worker FD``.

Reads JSON lines from standard input (the settings first, then one line a call) and writes JSON lines to the file
descriptor named: ``ready``, then for each call its ``reply`` lines as they are finished and ``done``; or ``failed``
with a message. When standard input ends, this process and all it started are killed: nobody is left to read.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LONGEST_CONTEXT = 8192
"""Tokens of prompt and reply that memory is reserved for at most."""
CPU_CACHE = 2 * 1024**3
"""Bytes of a CPU's memory for keys and values: several rows of the longest context for a model of 7B."""


def main() -> None:
    out = os.fdopen(int(sys.argv[1]), "w", buffering=1, encoding="utf-8")

    def say(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")

    calls = _read_calls()
    try:
        writer = _Writer(calls.get())
        say(ready=True)
        while True:
            for reply in writer.answer(calls.get()):
                say(reply=reply)
            say(done=True)
    except Exception as error:
        say(failed=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        raise


def _read_calls() -> "queue.SimpleQueue[dict[str, Any]]":
    calls: queue.SimpleQueue = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            calls.put(json.loads(line))
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=read, daemon=True).start()
    return calls


class _Writer:
    """The model in vLLM."""

    def __init__(self, settings: dict[str, Any]):
        # On a CPU vLLM keeps one core for its scheduler, which is half of a small machine.
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
        from transformers import AutoConfig
        from vllm import LLM

        from emogap.device import pick_device, pick_dtype
        from emogap.generate.chat_format import ChatFormat, end_tokens
        from emogap.lm.loading import context_length

        folder = Path(settings["folder"])
        device = pick_device()
        model = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        self._context = min(context_length(model) or LONGEST_CONTEXT, LONGEST_CONTEXT)
        self._llm = LLM(
            model=str(folder),
            dtype=str(pick_dtype(device, settings["dtype"])).removeprefix("torch."),
            quantization="bitsandbytes" if settings["quantization"] == "nf4" else None,
            max_model_len=self._context,
            # A prompt that is read in pieces breaks per-row seeds on a CPU.
            enable_chunked_prefill=False,
            max_num_batched_tokens=LONGEST_CONTEXT,
            enable_prefix_caching=True,
            # On a CPU compiling takes longer than the whole of a small run.
            enforce_eager=device == "cpu",
            # A share of the whole memory, which is the default, is more than a machine with other work has left.
            kv_cache_memory_bytes=CPU_CACHE if device == "cpu" else None,
            # The sampling is ours; the model's repository has no say in it.
            generation_config="vllm",
        )
        tokenizer = self._llm.get_tokenizer()
        self._format = ChatFormat(tokenizer)
        self._ends = end_tokens(folder, tokenizer)

    def answer(self, call: dict[str, Any]) -> Any:
        """Replies as they are finished."""
        from vllm import TokensPrompt

        engine = self._llm.llm_engine
        seconds: dict[int, float] = {}
        for index, asked in enumerate(call["conversations"]):
            prompt = self._encode(asked)
            if 0 < len(prompt) < self._context:
                parameters = self._parameters(call["sampling"], asked["seed"])
                engine.add_request(str(index), TokensPrompt(prompt_token_ids=prompt), parameters)
                seconds[index] = 0.0
            else:
                yield _failed(index, prompt, self._context)
        before = time.monotonic()
        while engine.has_unfinished_requests():
            finished = [output for output in engine.step() if output.finished]
            now = time.monotonic()
            for index in seconds:
                seconds[index] += (now - before) / len(seconds)
            before = now
            for output in finished:
                index = int(output.request_id)
                yield _finished(index, output, seconds.pop(index))

    def _encode(self, asked: dict[str, Any]) -> list[int]:
        from emogap.generate.engines import Conversation

        return self._format.encode(Conversation("", tuple(asked["messages"]), asked["seed"], asked["plain"]))

    def _parameters(self, sampling: dict[str, Any], seed: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            top_k=sampling["top_k"],
            repetition_penalty=sampling["repetition_penalty"],
            max_tokens=sampling["max_new_tokens"],
            seed=seed,
            stop_token_ids=sorted(self._ends),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _finished(index: int, output: Any, seconds: float) -> dict[str, Any]:
    written = output.outputs[0]
    return {
        "index": index,
        "text": written.text,
        "prompt_tokens": len(output.prompt_token_ids),
        "new_tokens": len(written.token_ids),
        "finish": written.finish_reason,
        "seconds": seconds,
        "error": None,
    }


def _failed(index: int, prompt: list[int], context: int) -> dict[str, Any]:
    reason = f"the prompt has {len(prompt)} tokens, the model reads {context}"
    return {
        "index": index,
        "text": "",
        "prompt_tokens": len(prompt),
        "new_tokens": 0,
        "finish": "error",
        "seconds": 0.0,
        "error": reason if prompt else "the prompt has no tokens",
    }


if __name__ == "__main__":
    main()
