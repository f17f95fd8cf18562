"""``emogap bench respond``: answering instruction prompts in batches, against one prompt at a time."""

from collections.abc import Sequence

from emogap.answers.respond import conversation, load_prompts
from emogap.commands import Parser, a_model
from emogap.config import Config, HubModel, Sampling, load_config
from emogap.device import pick_device, pick_dtype
from emogap.errors import UsageError
from emogap.lm.engines.engine import Conversation
from emogap.lm.engines.transformers_engine import TransformersEngine
from emogap.lm.hub import LocalModel, resolve
from emogap.records import row_seed
from tools.bench import Timing, print_timings, ratio, time_in_turn

LIBRARY, ALONE = "transformers, one at a time", "emogap, one at a time"
PUBLISHED_PROMPTS, MODELS = 829, 4


def run(words: list[str]) -> None:
    """Time the ways in turn; print prompts a second, the ratios, and what a study of published size would take."""
    parser = Parser(prog="emogap bench respond", description=__doc__)
    parser.add_argument(
        "--model", type=a_model, default="embedded:smollm2-135m-instruct", help="a model's name or folder"
    )
    parser.add_argument("--prompts", type=int, default=64, help="how many of the shipped prompts (64)")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens at most (64)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dtype", default="auto", choices=["auto", "bf16", "fp16", "fp32"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args(words)
    config = load_config("embedded")
    asked = conversations(config, arguments.prompts)
    sampling = config.respond.sampling.model_copy(update={"max_new_tokens": arguments.tokens})
    local = resolve(HubModel(name=arguments.model))
    compare(local, asked, sampling, arguments.batch_size, arguments.device, arguments.dtype, arguments.rounds)


def conversations(config: Config, count: int) -> list[Conversation]:
    """The first ``count`` of the shipped prompts, one of each emotion in turn. Raises ``UsageError``."""
    prompts = load_prompts(config.respond.prompts)
    if not 1 <= count <= len(prompts):
        raise UsageError(f"--prompts {count}: there are {len(prompts)} to ask")
    # One of each emotion in turn, so that a part of the prompts is like all of them.
    prompts.sort(key=lambda prompt: prompt.id.split("/")[1])
    rows = [
        {"prompt_id": p.id, "sample": 0, "instruction": p.instruction, "input": p.input, "seed": row_seed(0, p.id, "")}
        for p in prompts[:count]
    ]
    return [conversation(config, row) for row in rows]


def compare(
    local: LocalModel,
    asked: Sequence[Conversation],
    sampling: Sampling,
    batch_size: int,
    device: str = "auto",
    dtype: str = "auto",
    rounds: int = 1,
) -> list[Timing]:
    """Time all ways on these conversations, with the same weights, number format and sampling."""
    options = {"device": device, "dtype": dtype, "quantization": "none"}
    engines = {ALONE: TransformersEngine(local, batch_size=1, **options)}
    batched = f"emogap, batches of {batch_size}"
    engines[batched] = TransformersEngine(local, batch_size=batch_size, **options)
    ways = {LIBRARY: _library(local, asked, sampling, device, dtype)}
    for name, engine in engines.items():
        ways[name] = lambda engine=engine: float(len(engine.generate(asked, sampling)))
    timings = time_in_turn(ways, rounds, warm_up=False)
    print_timings(timings, "prompts", ALONE)
    rate = next(timing.rate for timing in timings if timing.name == batched)
    minutes = PUBLISHED_PROMPTS * MODELS / rate / 60
    print(f"{ratio(timings, batched, LIBRARY):.2f}× {LIBRARY}")
    print(f"{PUBLISHED_PROMPTS} prompts × {MODELS} models at the batched rate: {minutes:.0f} minutes (computed)")
    return timings


def _library(local: LocalModel, asked: Sequence[Conversation], sampling: Sampling, device: str, dtype: str):
    """What one would write by hand: ``generate`` on one prompt after the other."""
    import torch

    from emogap.lm.engines.engine import ChatFormat
    from emogap.lm.loading import load_causal

    device = pick_device(device)
    model, tokenizer = load_causal(local.path, device=device, dtype=pick_dtype(device, dtype))
    encode = ChatFormat(tokenizer).encode
    options = {
        "do_sample": sampling.temperature > 0,
        "temperature": sampling.temperature or None,
        "top_p": sampling.top_p,
        "repetition_penalty": sampling.repetition_penalty,
        "max_new_tokens": sampling.max_new_tokens,
        "pad_token_id": tokenizer.eos_token_id,
    }

    def one_at_a_time() -> float:
        for one in asked:
            torch.manual_seed(one.seed % 2**32)
            model.generate(torch.tensor([encode(one)], device=device), **options)
        return len(asked)

    return one_at_a_time
