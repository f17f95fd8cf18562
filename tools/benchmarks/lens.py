"""``emogap bench lens``: all measures of the lens on many short texts, through one model after the other."""

import resource
import time
from collections.abc import Sequence

from emogap.answers.respond import load_prompts
from emogap.commands import Parser, a_model
from emogap.config import HubModel, load_config
from emogap.errors import UsageError
from emogap.lens.logit_lens import LogitLens
from emogap.lens.reader import TextReader
from emogap.lens.stage import load_openings
from emogap.lm.hub import LocalModel, resolve


def run(words: list[str]) -> None:
    """Time the reading of texts through each model; print seconds, distributions a second and the memory's peak."""
    parser = Parser(prog="emogap bench lens", description=__doc__)
    parser.add_argument(
        "--models",
        nargs="+",
        type=a_model,
        default=["embedded:smollm2-135m-instruct"] * 2,
        help="names or folders, one after the other (the embedded model twice: only its size matters here)",
    )
    parser.add_argument("--prompts", type=int, default=100, help="how many texts (100)")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of each text (32)")
    arguments = parser.parse_args(words)
    models = [resolve(HubModel(name=name)) for name in arguments.models]
    measure(models, arguments.prompts, arguments.tokens)


def measure(models: Sequence[LocalModel], prompts: int, tokens: int) -> float:
    """Seconds that all models together took, loading included."""
    config = load_config("embedded")
    started, distributions = time.perf_counter(), 0
    for local in models:
        opened = LogitLens(local)
        reader = TextReader(opened, config.lens.words, config.lens.top_k)
        table = reader.read_all(_texts(opened, prompts, tokens), f"lens, {local.path.name}")
        distributions += int((table["measure"] == "entropy").sum())
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{prompts} texts of {tokens} tokens through {len(models)} models: {seconds:.0f} s, loading included; "
        f"{distributions / seconds:,.0f} distributions over the vocabulary a second; peak memory {peak:.1f} GiB"
    )
    return seconds


def _texts(opened: LogitLens, prompts: int, tokens: int) -> dict[str, str]:
    """Shipped prompts one behind the other, cut so that each text has that many tokens in this model's vocabulary."""
    config = load_config("embedded")
    written = [*load_openings(config.lens.prompts).values()]
    written += [prompt.instruction for prompt in load_prompts(config.respond.prompts)]
    if not 1 <= prompts <= len(written):
        raise UsageError(f"--prompts {prompts}: there are {len(written)} texts to read")
    texts = {}
    for place in range(prompts):
        ids = opened.encode(" ".join([*written[place:], *written[:place]]))
        texts[f"t{place}"] = opened.tokenizer.decode(ids[:tokens])
    return texts
