"""Settings: one TOML file per profile, read into typed, validated sections.

A profile may say ``extends = "<other>"`` and give only what differs.
An unknown key, a wrong type or an impossible value is a ``UsageError`` that names the key, the value and the remedy.
Fields made with ``execution`` say how work is done (workers, batches), not what comes out; they never make an
artefact stale.
"""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)  # fmt: skip
from pydantic.fields import FieldInfo

from emogap import home_settings
from emogap.controls import NEW, PLAIN, is_new, with_controls
from emogap.emotions import LABELS, REWRITE_EMOTIONS
from emogap.errors import UsageError
from emogap.paths import ROOT, Home, choose_home, given_path

if TYPE_CHECKING:
    import pandas as pd

CONFIGS = ROOT / "configs"

Share = Annotated[float, Field(ge=0, le=1)]
Dtype = Literal["auto", "bf16", "fp16", "fp32"]
Task = Literal["clm", "sft"]


def execution(default: Any, **constraints: Any) -> Any:
    """A field about how the work is done; it does not shape the result."""
    return Field(default, json_schema_extra={"execution": True}, **constraints)


def _kinds_of(annotation: Any) -> Iterator[Any]:
    """The types that a value of a setting may have, without their bounds."""
    inside = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _kinds_of(inside[0])
    elif get_origin(annotation) in (Union, UnionType):
        for kind in inside:
            yield from _kinds_of(kind)
    else:
        yield annotation


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        wanted = cls.model_fields[info.field_name].annotation
        if isinstance(value, bool) and set(_kinds_of(wanted)) & {int, float}:
            raise ValueError("a number is wanted, not true or false")
        return value

    def shaping(self, *keys: str) -> dict[str, Any]:
        """Key → value of those fields that shape the result (all of them, or the ones named), JSON-able."""
        values = self.model_dump(mode="json")
        fields = type(self).model_fields
        names = keys or tuple(n for n, f in fields.items() if not (f.json_schema_extra or {}).get("execution"))
        return {name: values[name] for name in names}


class HubModel(Section):
    """A model by name and revision: a hub id, a local folder, or ``embedded:<name>``."""

    name: str
    """A hub id, a folder, or ``embedded:<name>`` for a model that comes in a Python package."""
    revision: str = "main"
    """The commit, branch or tag of a hub model."""


SAMPLINGS: dict[str, dict[str, Any]] = {
    "published-stories": {"temperature": 0.7, "top_p": 0.9, "max_new_tokens": 512},
    "published-rewrites-report": {"temperature": 0.9, "top_p": 0.95, "repetition_penalty": 1.5, "max_new_tokens": 512},
    "published-rewrites-run": {"temperature": 0.8, "top_p": 0.95, "repetition_penalty": 1.3, "max_new_tokens": 512},
}
"""Published sampling by name: for stories, and for rewrites as the report gives it and as the study's script ran it."""


class Sampling(Section):
    """How the next token is sampled. Temperature 0 is greedy decoding; top_k 0 and top_p 1 switch those filters off.

    A name out of ``SAMPLINGS`` stands for all of its values.
    """

    temperature: float = Field(0.7, ge=0)
    """Divides the logits; 0 takes the likeliest token."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Only the likeliest tokens that together have this probability are sampled from; 1: all."""
    top_k: int = Field(0, ge=0)
    """Only this many of the likeliest tokens are sampled from; 0: all."""
    repetition_penalty: float = Field(1.0, gt=0)
    """Divides the positive logits of tokens that occurred before, multiplies the negative ones; 1: no penalty."""
    max_new_tokens: int = Field(512, ge=1)
    """A reply is cut after this many tokens."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, values: Any) -> Any:
        if isinstance(values, str):
            if values not in SAMPLINGS:
                raise ValueError(f"no sampling of that name; choose among {', '.join(SAMPLINGS)} or give a table")
            return SAMPLINGS[values]
        return values


class Writer(Section):
    """The instruction model that writes stories and rewrites, and the engine that runs it."""

    model: HubModel
    engine: Literal["transformers", "vllm", "server"] = "transformers"
    """Where the model runs: in this process; in a vLLM server of its own; or on the server that ``OPENAI_BASE_URL``
    names."""
    dtype: Dtype = "auto"
    """The precision of the model's computation; ``auto`` is what suits the device."""
    quantization: Literal["none", "nf4"] = "none"
    """``nf4``: 4-bit weights, for a GPU; a CPU can use them too, but is many times slower."""
    device: str = execution("auto")
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    batch_size: int = Field(16, ge=1)
    """Rows generated at a time; vLLM takes as many rows of a call as fit its memory. In bf16 and fp16 a reply may
    change with this number, in fp32 it does not."""
    timeout: float = execution(600.0, gt=0)
    """Seconds that one request to a server may take."""
    attempts: int = execution(5, ge=1)
    """How often a request to a server is made before it counts as failed."""
    vllm: str = execution("")
    """What starts vLLM's server, such as ``/opt/vllm/bin/vllm serve``; if empty, what ``make vllm`` installs."""
    vllm_options: tuple[str, ...] = ()
    """Further options of ``vllm serve``, such as ``--tensor-parallel-size 2``, one word per entry."""


class Gates(Section):
    """Bounds of the checks that every reply goes through, and what becomes of a reply that fails one."""

    min_words: int = Field(20, ge=0)
    """Words that a reply must have."""
    max_words: int = Field(1000, ge=1)
    """Words that a reply may have."""
    truncated: Literal["reject", "trim"] = "reject"
    """A reply cut at the token limit is rejected, or trimmed back to its last full sentence."""
    max_copied_share: Share = 0.5
    """The share of a reply's five-word runs that may also stand in the context, or in the prompt with its examples."""
    max_sentence_repeats: int = Field(2, ge=1)
    """How often the same sentence may stand in a reply."""
    max_similarity: Share = 0.8
    """Overlap of two replies' five-word runs (Jaccard) at or above which the later one is a duplicate; at 1 only texts
    that are equal, case and punctuation aside, are duplicates."""
    opening_words: int = Field(20, ge=1)
    """How many first words make an opening; two replies with the same opening are duplicates."""
    min_emotion_score: Share = 0.0
    """The classifier's score of the wanted emotion that a reply must reach; 0 records the score and rejects nothing."""
    unsuitable: bool = False
    """Whether a reply with a word that is not for small children is rejected."""
    retries: int = Field(0, ge=0)
    """How often a rejected reply is asked for again, each time with a fresh seed."""


class RewriteGates(Gates):
    """The checks of a rewritten answer: also whether the meaning is still there."""

    min_words: int = Field(3, ge=0)
    """Words that a reply must have."""
    max_words: int = Field(600, ge=1)
    """Words that a reply may have."""
    max_lost_share: Share = 0.0
    """Which share of the numbers and names of the original answer may be missing."""
    min_similarity: Share = 0.4
    """Cosine of the MiniLM vectors of original and rewritten answer below which the meaning counts as lost."""


class Process(Section):
    """Reading, cleaning and classifying BabyLM text."""

    raw_dirs: list[str] = Field(["data/sample/babylm"], min_length=1)
    """Folders of BabyLM text."""
    extensions: list[str] = Field([".train"], min_length=1)
    """Extensions of the text files; these are also found with ``.gz`` appended, and inside ``.zip`` archives."""
    tabs: Literal["space", "remove"] = "space"
    """What becomes of tabs and line breaks inside a line. Published: removed, which glues the words beside them."""
    space_before_punctuation: Literal["remove", "keep"] = "remove"
    """White space before ``. , ! ? ; :`` (published: removed)."""
    strip: bool = True
    """White space at both ends is removed (published: yes)."""
    min_words: int = Field(10, ge=0)
    """A line stays when it has more than this many white-space-separated words (published: 10)."""
    duplicates: Literal["exact", "near", "keep"] = "exact"
    """Which repeats within a source are dropped: equal lines (published), also lines that differ only in case and
    punctuation, or none."""
    max_line_bytes: int = Field(1_000_000, ge=1)
    """A longer line is dropped (published: no bound)."""
    strict: bool = False
    """Bad bytes, NULs, byte-order marks, carriage returns, empty files and too long lines are errors."""
    sample: int = Field(0, ge=0)
    """How many lines are sampled, by the run's seed; 0 is all of them. Published: all."""
    balance: bool = False
    """Sample the emotional lines evenly over the emotions: ``sample`` of them, or, if that is 0, no more of any emotion
    than the median emotion has. All lines are classified first. Published: no."""
    classifier: HubModel = HubModel(name="emotion-minilm")
    """The GoEmotions classifier that finds the emotion of each line."""
    dtype: Dtype = "auto"
    """The precision of the classifier's computation; ``auto`` is what suits the device."""
    device: str = execution("auto")
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    threshold: Annotated[float, Field(ge=0, lt=1)] | Literal["tuned"] = 0.5
    """A line is emotional when its top label is not neutral and passes this (published: 0.5). ``tuned``: the
    classifier's own threshold for that label."""
    token_budget: int = Field(0, ge=0)
    """Tokens of a batch, padding included; 0 is what suits the device. Scores in bf16 depend on it a little."""
    workers: int = execution(0, ge=0)
    """Threads that clean; 0 is one per core."""


def _all_known(what: str, names: list[str], templates: dict[str, str]) -> None:
    for name in names:
        if name not in templates:
            raise ValueError(f"{what} '{name}' has no template; known: {', '.join(templates)}")


STORY_TEMPLATES = {method: f"prompts/stories/{method}.txt" for method in ("m1", "m2", "m3", PLAIN)}
REWRITE_TEMPLATES = {version: f"prompts/rewrites/{version}.txt" for version in ("v1", "v2", "v3")}


class Augment(Section):
    """Stories written from emotional lines."""

    methods: list[str] = Field(["m1", "m2", "m3"], min_length=1)
    """The prompt methods; all write about the same lines. ``m0``, which asks for no emotion, goes on with further lines
    until it has as many stories as all other methods together, or no line is left."""
    templates: dict[str, str] = dict(STORY_TEMPLATES)
    """Method → prompt file; the ones named are added to those of the project."""
    examples: str = "data/sample/story_examples.json"
    """Worked examples of stories by emotion, for the methods that show some."""
    lines: int = Field(0, ge=0)
    """How many emotional lines each method writes about; 0 is all of them."""
    order: Literal["file", "balanced"] = "file"
    """Which lines come first: as in the file, or the emotions in turn, with the lines of each emotion shuffled."""
    chunk_size: int = Field(871, ge=1)
    """Lines per chunk (published: 871); the last one is shorter."""
    chunks: str = execution("all")
    """Which chunks to make: ``all``, or numbers and ranges such as ``0-9,33``."""
    sampling: Sampling = Sampling(**SAMPLINGS["published-stories"])
    gates: Gates = Gates()

    _add_templates = field_validator("templates", mode="before")(lambda given: STORY_TEMPLATES | given)

    @model_validator(mode="after")
    def _each_method_has_a_template(self) -> "Augment":
        _all_known("method", self.methods, self.templates)
        return self


class CorpusShares(Section):
    """Shares of the corpus's words, name → share. Names that are not given share the rest, or nothing if the
    given shares add up to 1. An empty table asks for nothing."""

    kind: dict[Literal["story", "factual"], Share] = {}
    """Shares of all words, for stories and factual text."""
    source: dict[str, Share] = {}
    """Shares of all words, by source; the source of an article is its wiki file's name without extension."""
    method: dict[str, Share] = {}
    """Shares of the stories' words, by the prompt method that wrote them."""
    emotion: dict[str, Share] = {}
    """Shares of the stories' words, by emotion: the first of the labels of a story's line."""

    @field_validator("*")
    @classmethod
    def _at_most_everything(cls, shares: dict[str, float]) -> dict[str, float]:
        if sum(shares.values()) > 1 + 1e-9:
            raise ValueError(f"the shares add up to {sum(shares.values()):.3g}, more than 1")
        return shares

    @field_validator("emotion")
    @classmethod
    def _emotions_are_known(cls, shares: dict[str, float]) -> dict[str, float]:
        for emotion in shares:
            if emotion not in LABELS:
                raise ValueError(f"'{emotion}' is not one of the 28 emotions; choose among {', '.join(LABELS)}")
        return shares


class Corpus(Section):
    """Stories and factual text compiled to a word budget."""

    name: str = Field("emotional", pattern=r"^[\w.-]+$")
    """What the corpus's files are called."""
    methods: list[str] = Field(["m1", "m2", "m3"])
    """The methods whose accepted stories go in; an empty list leaves only the factual text."""
    lines: bool | Literal["together", "all"] = False
    """Instead of stories the emotional lines themselves, each once and each a document, from the sources of the stories
    of the corpus that ``words`` names, else from all; ``together``: consecutive lines of a source, joined to documents
    about as long as those stories; ``all``: every line that cleaning kept, of every source, which no model has written
    or chosen."""
    chunks: dict[str, str] = {}
    """Method → which of its chunks (``0-26,30``); a method that is not named gives all it has."""
    factual: list[str] = []
    """Wiki files that give the factual part."""
    unknown_words: Literal["sentence", "word", "keep"] = "word"
    """What is removed at an ``<unk>`` mark of a wiki file: the whole sentence, the word that holds it, or nothing."""
    words: Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^as:[\w.-]+$")] = 0
    """The budget in white-space-separated words; 0 takes everything (that the shares allow). ``as:NAME``: as many words
    of stories and as many of factual text as that corpus has; the factual text is the same where both may have it."""
    shares: CorpusShares = CorpusShares()
    near_duplicates: Share = 0.0
    """Overlap of two stories' five-word runs (Jaccard) at or above which the later one is dropped; at 1 only texts that
    are equal, case and punctuation aside, are dropped; 0 keeps all."""
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the source lines, and of the articles, that is held out (published: 0.2)."""

    @model_validator(mode="after")
    def _something_to_compile(self) -> "Corpus":
        if not self.methods and not self.factual and not self.lines:
            raise ValueError("neither methods nor factual text are named: the corpus would be empty")
        for method in self.chunks:
            if method not in self.methods:
                raise ValueError(f"chunks names '{method}', which is not among the methods {', '.join(self.methods)}")
        if self.lines == "together" and not self.model_corpus:
            raise ValueError("lines = 'together' needs words = 'as:NAME', a corpus whose stories say how long they are")
        return self

    @property
    def model_corpus(self) -> str:
        """The corpus that this one is to equal in words (``as:NAME``); empty for none."""
        return self.words.removeprefix("as:") if isinstance(self.words, str) else ""


class Rewrite(Section):
    """Alpaca answers rewritten towards a positive emotion."""

    records: str = "data/sample/alpaca.json"
    """Instructions with answers in Alpaca's form: a file, or a data set of the hub."""
    revision: str = "main"
    """The commit, branch or tag of a data set of the hub."""
    count: int = Field(0, ge=0)
    """How many records are sampled; 0 is all of them (published: 20,000)."""
    versions: list[str] = Field(["v3"], min_length=1)
    """The prompt versions; each rewrites the same records."""
    templates: dict[str, str] = dict(REWRITE_TEMPLATES)
    """Version → prompt file; the ones named are added to the three of the project."""
    seeds: str = "data/sample/seed_rewrites.json"
    """Worked examples of rewrites by emotion."""
    emotions: list[str] = list(REWRITE_EMOTIONS)
    """The emotions that answers are rewritten towards, in turn."""
    sampling: Sampling = Sampling(**SAMPLINGS["published-rewrites-report"])
    gates: RewriteGates = RewriteGates()

    _add_templates = field_validator("templates", mode="before")(lambda given: REWRITE_TEMPLATES | given)

    @model_validator(mode="after")
    def _each_version_has_a_template(self) -> "Rewrite":
        _all_known("version", self.versions, self.templates)
        return self


class Lora(Section):
    """Low-rank adaptation of all linear layers (Hu et al. 2021); rank 0 trains all weights."""

    rank: int = Field(0, ge=0)
    """Rank of the adapters; 0 trains all weights."""
    alpha: int = Field(32, ge=1)
    """The adapters' output is scaled by alpha / rank."""
    dropout: Share = 0.0
    """Share of the adapters' input that is dropped while training."""
    merge: bool = True
    """Merged into the weights; if not, kept as an adapter, and the base is loaded from where it lay at training."""

    @property
    def keeps_adapter(self) -> bool:
        return self.rank > 0 and not self.merge


class Training(Section):
    """What both kinds of fine-tuning share. A name out of ``TRAININGS`` in ``published`` fills in what is not given."""

    published: str = execution("")
    """A name out of ``TRAININGS``, whose values stand for what is not given."""
    learning_rate: float = Field(2e-5, gt=0)
    """The highest learning rate (AdamW)."""
    scheduler: Literal["linear", "cosine", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from 0."""
    batch_size: int = Field(4, ge=1)
    """Rows that go through the model at once."""
    accumulation: int = Field(8, ge=1)
    """Batches per step. Several processes share them, so that a step means the same for any number of processes."""
    epochs: float = Field(10, gt=0)
    """How often the training rows are gone through."""
    max_steps: int = Field(-1, ge=-1)
    """Steps at most; -1 lets the epochs decide."""
    eval_steps: int = Field(200, ge=1)
    """Steps between evaluations; each is followed by a checkpoint."""
    patience: int = Field(10, ge=1)
    """Evaluations without improvement before training stops."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of AdamW."""
    precision: Dtype = "auto"
    """The precision of the computation; the weights are kept in fp32."""
    lora: Lora = Lora()
    seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)
    """One training for each seed; with several, the models are named ``<name>.s<seed>``."""
    device: str = execution("auto")
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    processes: int = execution(1, ge=1)
    """Processes (one per GPU) that share a training; `accelerate launch` sets their number by itself."""
    report_to: str = execution("none")
    """Where the curves also go: none, wandb, tensorboard, trackio."""
    trainer: dict[str, JsonValue] = {}
    """Further arguments of the library (``TrainingArguments``, for SFT ``SFTConfig``) by their own names, such as
    ``{"max_grad_norm": 0.5}``."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_published(cls, values: Any) -> Any:
        name = values.get("published", "") if isinstance(values, dict) else ""
        if not name:
            return values
        if name not in TRAININGS:
            raise ValueError(f"published '{name}' is unknown; choose among {', '.join(TRAININGS)}")
        return TRAININGS[name] | values

    @field_validator("trainer")
    @classmethod
    def _can_be_kept(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name, value in arguments.items():
            if not isinstance(_toml(home_settings.toml({name: value})), dict):
                raise ValueError(f"{name}={value!r} has no form in TOML; leave it out for the library's default")
        return arguments

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed stands twice")
        return seeds


TRAININGS: dict[str, dict[str, Any]] = {
    "notebook": {
        "learning_rate": 5e-5, "scheduler": "linear", "batch_size": 64, "accumulation": 1, "epochs": 10,
        "eval_steps": 200, "patience": 10, "precision": "fp32",
    },
    "report": {
        "learning_rate": 2e-5, "scheduler": "cosine", "batch_size": 4, "accumulation": 8, "epochs": 10,
        "eval_steps": 200, "patience": 10, "precision": "fp16",
    },
}  # fmt: skip
"""Published settings by name: as the causal-LM notebook ran, and as the report gives them for all fine-tuning."""


SIZES: dict[str, dict[str, Any]] = {
    "gpt2-tiny": {"model_type": "gpt2", "n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 512},
    "gpt2-mini": {"model_type": "gpt2", "n_embd": 384, "n_layer": 6, "n_head": 6, "n_positions": 512},
    "gpt2-small": {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024},
    "gpt2-medium": {"model_type": "gpt2", "n_embd": 1024, "n_layer": 24, "n_head": 16, "n_positions": 1024},
}
"""Models that are trained from scratch: name → arguments of their configuration in ``transformers``. They have 1.4,
12.4, 89 and 308 million parameters with a vocabulary of 4,096, and 3.0, 17.1, 98 and 320 with one of 16,384."""
_MILLION = 1_000_000
_STRICT_SMALL = (*range(_MILLION, 10 * _MILLION, _MILLION), *range(10 * _MILLION, 101 * _MILLION, 10 * _MILLION))
CHECKPOINTS: dict[str, tuple[int, ...]] = {
    "none": (),
    "strict-small": _STRICT_SMALL,
    "strict": (*_STRICT_SMALL, *range(200 * _MILLION, 1001 * _MILLION, 100 * _MILLION)),
}
"""Track of the BabyLM challenge → after how many words seen it asks for a checkpoint."""


class Clm(Training):
    """Causal language modelling on the corpus."""

    block_size: int = Field(512, ge=8)
    """Tokens per block (published: 512)."""
    boundaries: Literal["open", "closed"] = "open"
    """Whether a document sees what stands before it in its block (published: open)."""
    vocabulary: int = Field(16_384, ge=300)
    """The most tokens that the tokenizer of a model trained from scratch may have."""
    checkpoints_by_words: Literal["none", "strict-small", "strict"] | list[Annotated[int, Field(ge=1)]] = "none"
    """After how many words seen a checkpoint of the model is kept, each in its own folder: the numbers that a track of
    the BabyLM challenge asks for, or a list of numbers."""

    @property
    def marks(self) -> tuple[int, ...]:
        """The numbers of words after which a checkpoint is kept, in order."""
        asked = self.checkpoints_by_words
        return CHECKPOINTS[asked] if isinstance(asked, str) else tuple(sorted(set(asked)))


class Sft(Training):
    """Supervised fine-tuning on the rewritten Alpaca."""

    template: str = "prompts/answer/sft.txt"
    """The form in which a model is asked."""
    max_length: int = Field(1024, ge=16)
    """Tokens of an example at most; the rest is cut off (published: 1024)."""
    loss_on: Literal["text", "response"] = "response"
    """Which tokens are learnt: all (published), or those of the answer."""
    packing: bool = False
    """Several examples per row, packed by best fit; they do not see each other."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the instructions that is held out (published: 0.1), the same ones for every strategy."""


class Strategy(Section):
    """One model of the study: what it starts from, how and on what it is trained."""

    name: str
    parent: str
    """A base, a strategy further up, or ``new:`` and a size out of ``SIZES``: trained from scratch."""
    task: Task
    data: str
    """For clm the name of a corpus. For sft a rewriting version; ``original:`` and a version, for the answers that it
    rewrote; or a JSON file of records in Alpaca's form."""
    control_of: str = ""
    """The strategy that this one is a control of: trained in the same way on text without that strategy's emotion."""


class Respond(Section):
    """Answers of every model to every instruction prompt."""

    prompts: str = "data/sample/emotion_prompts.json"
    """Instruction prompts by emotion."""
    models: list[str] = []
    """Which bases and strategies are measured; empty is all of them."""
    per_emotion: int = Field(0, ge=0)
    """How many prompts of each emotion; 0 is all."""
    samples: int = Field(1, ge=1)
    """Answers to each prompt, each sampled with a seed of its own."""
    greedy: bool = False
    """Answer every prompt once more by greedy decoding, beside the sampled answers."""
    empty_prompts: int = Field(0, ge=0)
    """Control: how many answers to an empty instruction each model gives."""
    batch_size: int = Field(16, ge=1)
    """Answers generated at a time. In bf16 and fp16 an answer may change with this number, in fp32 it does not."""
    dtype: Dtype = "auto"
    """The precision of the models' computation; ``auto`` is what suits the device."""
    device: str = execution("auto")
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.2, max_new_tokens=128)


class Sentiment(Section):
    """Emotion of the answers, and whether they are still good language."""

    classifiers: list[HubModel] = Field([HubModel(name="emotion-tfidf")], min_length=1)
    """The first one judges; the others are compared with it."""
    lexicon: Literal["none", "vader"] = "vader"
    """A list of words with their polarity, a judge of another kind beside the classifiers; for English only."""
    grouping: Literal["study", "goemotions"] = "study"
    """How the 28 emotions are grouped in the main tables; the other grouping is shown beside it."""
    bootstrap: int = Field(2000, ge=100)
    """How often the control shuffles the emotions asked for over the prompts."""
    plain_text: str = "data/sample/plain_text.txt"
    """Plain text that no model was trained on, one passage per line, for perplexity."""


class Scored(Section):
    """The settings that all measurements by the likelihood of sentences have."""

    items: int = Field(0, ge=0)
    """Pairs of each paradigm, or records of each file; 0 is all."""
    empty_context: Literal["bos", "eos", "none"] = "bos"
    """What the first token is predicted from: the tokenizer's BOS (EOS where it has none), its EOS, or nothing; with
    nothing the first token has no score."""
    dtype: Dtype = "fp32"
    """The precision of the models' computation."""
    device: str = execution("auto")
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` …"""
    token_budget: int = execution(2048, ge=64)
    """Tokens of a batch."""


class Blimp(Scored):
    """Minimal pairs: is the grammatical sentence the likelier one?"""

    data: str = "data/sample/blimp"
    """A folder of ``<UID>.jsonl`` or ``.jsonl.gz`` files, one per paradigm."""
    subset: str = ""
    """A JSON file, paradigm → ids of the pairs that are scored; if none is named, all are scored."""
    paradigms: bool = execution(False)
    """Tables and a figure for every paradigm, beside those for the phenomena."""


class Emobench(Scored):
    """Multiple-choice questions on emotions."""

    data: str = "data/sample/emobench"
    """A folder of ``EA.jsonl`` and ``EU.jsonl``; where it has neither, the study does without them."""
    language: Literal["en", "zh"] = "en"
    """The language of the questions."""
    orders: int = Field(0, ge=0)
    """In how many orders the choices are listed; 0: each choice stands in each place once."""


class Babylm(Scored):
    """The zero-shot part of the BabyLM challenge's evaluation."""

    data: list[str] = []
    """Folders of the challenge's ``evaluation_data``, whole or in parts; with none the study does without them."""
    convention: Literal["study", "2024", "2025", "2026"] = "2026"
    """Whose rules say how texts are tokenized and ties counted: the challenge's of that year, or those of ``blimp``
    (``study``). From 2025 on the tokenizer alone decides what stands before a text, whatever ``empty_context`` is."""
    temperature: float = Field(1.0, gt=0)
    """What logits are divided by."""


class Stats(Section):
    """Statistics of stories and rewrites."""

    tokenizer: str | None = None
    """The base model whose tokens are counted; if none is named, the first base."""
    classifier: HubModel = HubModel(name="emotion-minilm")
    """Finds the emotion of the texts, which is compared with the one asked for."""
    classified: int = Field(1000, ge=0)
    """How many texts of each group the classifier reads, sampled by the run's seed; 0 is all."""
    workers: int = execution(0, ge=0)
    """Processes that count; 0 is one per core."""


class Lens(Section):
    """Logit lens of a base model and of the models that were trained from it."""

    models: list[str] = Field(..., min_length=1)
    """The models that are looked into: bases and strategies."""
    sentences: str = "data/sample/lens_sentences.txt"
    """One sentence a line."""
    new_tokens: int = Field(12, ge=1)
    """How many tokens each model adds to a sentence; their ranks by layer are what the figures show."""
    top_k: int = Field(5, ge=1, le=100)
    """How many of the likeliest next tokens of every layer and position are kept."""
    prompts: str = "data/sample/lens_prompts.json"
    """Openings of texts, emotion → list; each stops where a word of feeling may follow."""
    per_emotion: int = Field(0, ge=0)
    """How many openings of each emotion, the first ones of the file; 0 is all."""
    words: list[str] = ["happy", "proud", "sad", "afraid"]
    """Words whose probability and rank are followed through the layers."""
    bootstrap: int = Field(2000, ge=100)
    """Resamples of the openings for the 95 % intervals of depths and shifts."""


class Scale(Section):
    """Where classification and the writing of stories and rewrites run: in this process, or spread over a cluster."""

    executor: Literal["plain", "ray"] = execution("plain")
    """In this process, or by the workers of a Ray cluster."""
    address: str = execution("")
    """A running Ray cluster, ``host:port`` or ``auto``; none named starts one on this machine."""
    workers: int = execution(0, ge=0)
    """Workers, each with a model of its own; 0 is as many as there is room for."""
    cpus: float = execution(1.0, gt=0)
    """CPUs that a worker takes."""
    gpus: float | None = execution(None, ge=0)
    """GPUs that a worker takes; not given: one, if the cluster has any."""
    wait: float = execution(600.0, ge=0)
    """Seconds that a run goes on waiting when no node is left that could hold a worker; then it ends with one line."""


class Config(Section):
    """All settings of a run."""

    profile: str
    """Name of the profile, which is that of its file."""
    seed: int = Field(0, ge=0)
    """Seed of the run: what is sampled for a row depends only on this seed, the row and the purpose."""
    bases: dict[str, HubModel]
    """Name → model that is fine-tuned."""
    controls: bool = False
    """Train controls too: for each strategy below the same training without its emotion, by ``controls.py``'s rules: on
    stories that were asked for without emotion (``m0``), on emotional lines as they are, on original answers."""
    writer: Writer
    process: Process = Process()
    augment: Augment = Augment()
    corpus: Corpus = Corpus()
    corpora: list[Corpus] = []
    """Further corpora: each gives what differs from ``[corpus]``, its ``name`` at least."""
    rewrite: Rewrite = Rewrite()
    clm: Clm = Clm()
    sft: Sft = Sft()
    strategies: list[Strategy]
    """The trainings, one row per model: what it starts from, and how and on what it is trained."""
    respond: Respond = Respond()
    sentiment: Sentiment = Sentiment()
    blimp: Blimp = Blimp()
    emobench: Emobench = Emobench()
    babylm: Babylm = Babylm()
    lens: Lens
    stats: Stats = Stats()
    scale: Scale = Scale()

    _home: Home = PrivateAttr()
    _source: str = PrivateAttr()

    @property
    def home(self) -> Home:
        return self._home

    def in_home(self, root: Path) -> "Config":
        """The same settings for another home."""
        copy = self.model_copy()
        copy._home = Home(root)
        return copy

    def with_section(self, section: str, **values: Any) -> "Config":
        """The same settings but for some of one section."""
        return self.model_copy(update={section: getattr(self, section).model_copy(update=values)})

    @property
    def source(self) -> str:
        """The profile as it was asked for: a name, or the absolute path of a TOML file."""
        return self._source

    @property
    def all_corpora(self) -> list[Corpus]:
        """``corpus`` and ``corpora``, in the order in which they are compiled."""
        return [self.corpus, *self.corpora]

    @model_validator(mode="before")
    @classmethod
    def _corpora_differ_from_corpus(cls, values: Any) -> Any:
        """Each row takes what it does not give from ``[corpus]``."""
        corpus, rows = values.get("corpus") or {}, values.get("corpora")
        if not (isinstance(rows, list) and isinstance(corpus, dict) and all(isinstance(row, dict) for row in rows)):
            return values
        return values | {"corpora": [_merged(corpus, row) for row in rows]}

    @field_validator("strategies")
    @classmethod
    def _names_are_unique(cls, strategies: list[Strategy]) -> list[Strategy]:
        _all_differ("strategies", [strategy.name for strategy in strategies])
        return strategies

    @model_validator(mode="after")
    def _corpora_stand_behind_their_models(self) -> "Config":
        names = [corpus.name for corpus in self.all_corpora]
        _all_differ("corpora", names)
        for place, corpus in enumerate(self.all_corpora):
            if corpus.model_corpus and corpus.model_corpus not in names[:place]:
                raise ValueError(
                    f"corpus '{corpus.name}' is to have as many words as '{corpus.model_corpus}', which is no corpus "
                    f"above it; there is {', '.join(names[:place]) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _parents_come_first(self) -> "Config":
        known = set(self.bases)
        for strategy in self.strategies:
            if is_new(strategy):
                _check_new(strategy)
            elif strategy.parent not in known:
                raise ValueError(
                    f"strategy '{strategy.name}' starts from '{strategy.parent}', "
                    f"which is neither a base nor a strategy above it; known: {', '.join(sorted(known))}"
                )
            known.add(strategy.name)
        if self.controls:
            self.__dict__.update(with_controls(self))
        for strategy in self.strategies:
            if strategy.control_of and strategy.control_of not in known - set(self.bases) - {strategy.name}:
                raise ValueError(
                    f"strategy '{strategy.name}' is to be a control of '{strategy.control_of}', which is no other "
                    f"strategy; known: {', '.join(sorted(known - set(self.bases)))}"
                )
        return self

    def flat_writer(self, *keys: str) -> dict[str, Any]:
        """``flat`` of the writer's settings, with vLLM's own options where there are any."""
        return self.flat("writer", *keys, *(["vllm_options"] if self.writer.vllm_options else []))

    def show(self, *sections: str) -> "pd.DataFrame":
        """A table of setting, value, published, meaning: for the sections or settings named (``"writer",
        "augment.gates"``), or for all.

        ``value`` and ``published`` are as TOML has them, ``published`` is empty where the study does not say. Raises
        ``UsageError`` for an unknown name.
        """
        from emogap.published import settings_table

        fields = {".".join(key): field_at(key) for key in setting_keys()}
        return settings_table(self.model_dump(mode="json"), fields, sections)

    def flat_corpus(self, corpus: Corpus) -> dict[str, Any]:
        """``flat`` of one of the corpora; ``lines`` only where the corpus is made of lines."""
        flat = _flatten(corpus.shaping(), "corpus")
        return flat if corpus.lines else {key: value for key, value in flat.items() if key != "corpus.lines"}

    def flat(self, section: str, *keys: str) -> dict[str, Any]:
        """``section.key`` → value of what shapes the result, for a recipe."""
        return _flatten(getattr(self, section).shaping(*keys), section)


def _check_new(strategy: Strategy) -> None:
    size = strategy.parent.removeprefix(NEW)
    if size not in SIZES:
        raise ValueError(
            f"strategy '{strategy.name}' is to be a new model of the size '{size}', which is unknown; choose among "
            f"{', '.join(NEW + name for name in SIZES)}"
        )
    if strategy.task != "clm":
        raise ValueError(
            f"strategy '{strategy.name}' is to train a new model by {strategy.task}; train it by clm first, and name "
            "that strategy as the parent"
        )


def _all_differ(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what} are called '{name}'; rename one of them")


def _flatten(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        if isinstance(value, dict):
            flat |= _flatten(value, name)
        else:
            flat[name] = value
    return flat


def profiles() -> list[str]:
    return sorted(path.stem for path in CONFIGS.glob("*.toml"))


Setting = str | tuple[str, Any]
"""``"section.key=value"`` as it stands behind ``--set``, or a key and its value."""


def load_config(
    profile: str = "embedded",
    home: str | Path | None = None,
    settings: Iterable[Setting] | dict[str, Any] = (),
    keep: bool = False,
    on: str | Path | None = None,
) -> Config:
    """Read a profile (a name under ``configs/`` or the path of a TOML file), apply what the home sets beside it, then
    ``settings``, and validate.

    ``settings``: of several for one key the last holds. The key's type decides how a value given as text is read: a
    text setting takes it as it is, everything else is TOML (see ``_read``). ``keep``: the home keeps those of them
    that shape results (``home_settings``), and prints what changed. ``on``: another home, of which this one becomes a
    variant: what has an equal recipe there is taken from there. Raises ``UsageError``.
    """
    path = given_path(profile) if profile.endswith(".toml") else CONFIGS / f"{profile}.toml"
    folder = choose_home(path.stem, home)
    own = home_settings.kept(folder)
    given = dict(map(_typed, settings.items() if isinstance(settings, dict) else settings))
    config = _validated(path, own | given, f"{path.name}, {folder / home_settings.FILE}" if own else path.name)
    config._source = str(path) if profile.endswith(".toml") else profile
    config._home = Home(folder)
    if on is not None:
        home_settings.set_parent(folder, given_path(str(on)))
    if keep:
        _keep(path, folder, own, given)
    return config


def _typed(setting: Setting) -> tuple[str, Any]:
    key, value = _split_setting(setting) if isinstance(setting, str) else setting
    return key, _read(value, _type_at(_key_parts(key))) if isinstance(value, str) else value


def _validated(path: Path, settings: dict[str, Any], where: str = "") -> Config:
    """A profile with these settings on top, each replacing the value below it; error messages name ``where``."""
    values = _read_profile(path)
    for key, value in settings.items():
        _set(values, _key_parts(key), value)
    try:
        return Config.model_validate(values | {"profile": path.stem})
    except ValidationError as error:
        raise UsageError(_first_problem(error, where or path.name, values)) from None


def _keep(path: Path, home: Path, own: dict[str, Any], given: dict[str, Any]) -> None:
    """Write down what a home sets now, and say what changed."""
    shaping = {key: value for key, value in given.items() if _shapes_results(_key_parts(key))}
    wanted = [_key_parts(key) for key in shaping]
    over = [key for key in own if any(_key_parts(key)[: len(parts)] == parts for parts in wanted)]
    kept = {key: value for key, value in own.items() if key not in over} | shaping
    now, before, profile = (_values(path, settings) for settings in (kept, own, {}))
    for key in shaping:  # a setting that changes nothing is not kept
        others = {other: value for other, value in kept.items() if other != key}
        kept = others if _values(path, others) == now else kept
    for key in dict.fromkeys([*over, *shaping]):
        parts = _key_parts(key)
        if (value := _at(now, parts)) != _at(before, parts):
            usual = _at(profile, parts)
            whose = f"the profile has {_shown(usual)}" if usual is not None else "the profile does not have it"
            whose = "as the profile has it" if value == usual else whose
            print(f"{home / home_settings.FILE}: {key} = {_shown(value)} in this home from now on ({whose})")
    if kept != own:
        home_settings.write(home, kept)


def _values(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """All values of a profile with these settings on top; empty if they are not valid together."""
    try:
        return _validated(path, settings).model_dump(mode="json")
    except UsageError:
        return {}


def forget(config: Config, keys: Iterable[str]) -> list[str]:
    """Take back what a home sets beside its profile: these keys, or all if none is given. Returns what was taken back.

    Raises ``UsageError`` for a key that the home does not set.
    """
    own, wanted = home_settings.kept(config.home.root), list(keys)
    for key in wanted:
        if key not in own:
            raise UsageError(f"the home {config.home.root} does not set '{key}'; it sets {', '.join(own) or 'nothing'}")
    home_settings.write(config.home.root, {key: own[key] for key in own if wanted and key not in wanted})
    return wanted or list(own)


def _shapes_results(parts: list[str]) -> bool:
    """Whether a setting shapes what comes out, and not only how the work is done."""
    fields = [field_at(parts[: end + 1]) for end in range(len(parts))]
    return not any((field.json_schema_extra or {}).get("execution") for field in fields if field)


def field_at(parts: Sequence[str]) -> FieldInfo | None:
    """The field of a section that a key names; None inside tables of names, and where there is no such setting."""
    section = _type_at(parts[:-1])
    return getattr(section, "model_fields", {}).get(parts[-1])


def _at(values: Any, parts: list[str]) -> Any:
    """What stands under a key in nested tables; None where nothing does."""
    for part in parts:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _read_profile(path: Path) -> dict[str, Any]:
    """The values of a profile on top of those of the profile that it ``extends``, if it does."""
    if not path.is_file():
        wanted = path.stem if path.is_relative_to(CONFIGS) else path
        raise UsageError(f"unknown profile '{wanted}'; choose among {', '.join(profiles())} or give a TOML file")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error
    if "extends" not in values:
        return values
    return _merged(_read_profile(CONFIGS / f"{values.pop('extends')}.toml"), values)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; anything else above replaces what is below."""
    both = dict(below)
    for key, value in above.items():
        mergeable = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = _merged(both[key], value) if mergeable else value
    return both


def _split_setting(setting: str) -> tuple[str, str]:
    """The key and the value of ``section.key=value``; a text may stand in TOML's quotation marks."""
    key, separator, text = setting.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"--set takes section.key=value, not {setting!r}")
    unquoted = _toml(text)
    return key, unquoted if isinstance(unquoted, str) else text


def _key_parts(key: str) -> list[str]:
    """The parts of a dotted key as TOML has it: one with a dot in it stands in quotation marks."""
    try:
        table: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        table = {}
    parts = []
    while isinstance(table, dict) and len(table) == 1:
        [(name, table)] = table.items()
        parts.append(name)
    return parts or [part.strip() for part in key.split(".")]


def _type_at(parts: Iterable[int | str]) -> Any:
    """The type of the setting of that key; ``Any`` where there is no such setting."""
    return reduce(_type_inside, parts, Config)


def _type_inside(outer: Any, key: int | str) -> Any:
    """The type of what a section, a table or a list of that type holds under a key or number."""
    if isinstance(outer, type) and issubclass(outer, BaseModel):
        field = outer.model_fields.get(key)
        return field.annotation if field else Any
    if get_origin(outer) is tuple:
        return get_args(outer)[0]
    return get_args(outer)[-1] if get_origin(outer) is (list if isinstance(key, int) else dict) else Any


def _read(text: str, wanted: Any) -> Any:
    """What a text means for a setting of that type: 1.10 is a name where a text is wanted and a number elsewhere.

    The same holds of every value inside a list or a table, whether or not it stands in quotation marks. What is no
    TOML stays text.
    """
    if _takes_text(wanted, text):
        return text
    bare_quoted = _BARE.sub(lambda found: found[1] or json.dumps(found[2]), text)
    nested = _toml(bare_quoted)
    return _read_inside(nested, wanted) if isinstance(nested, dict | list) else _toml(text)


_BARE = re.compile(
    r"(\"{3}.*?\"{3}|'{3}.*?'{3}|\"(?:\\.|[^\"\\])*\"|'[^']*'|#[^\n]*)"  # strings and comments stay as they are
    r"|([^\s,\[\]{}=\"'#]++)(?!\s*=)",  # a value outside of quotation marks; before = it is a key
    re.DOTALL,
)


def _read_inside(value: Any, wanted: Any) -> Any:
    if isinstance(value, dict):
        return {key: _read_inside(inner, _type_inside(wanted, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_read_inside(inner, _type_inside(wanted, number)) for number, inner in enumerate(value)]
    return _read(value, wanted) if isinstance(value, str) else value


def _takes_text(wanted: Any, text: str) -> bool:
    """Whether a setting of that type takes the text as it is; a union does if the text is a word of its ``Literal``."""
    if get_origin(wanted) is Annotated:
        return _takes_text(get_args(wanted)[0], text)
    if get_origin(wanted) in (Union, UnionType):
        kinds = [kind for kind in get_args(wanted) if kind is not NoneType]
        return any(_takes_text(kind, text) for kind in kinds if len(kinds) == 1 or text in get_args(kind))
    return wanted is str or get_origin(wanted) is Literal


def _toml(text: str) -> Any:
    """The value that the text is in TOML; the text itself if it is none."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text


def _set(values: dict[str, Any], parts: list[str], value: Any) -> None:
    *parents, last = parts
    for parent in parents:
        inner = values.setdefault(parent, {})
        if isinstance(inner, str) and inner in SAMPLINGS:  # the name of a whole table, of which a part is set
            inner = values[parent] = dict(SAMPLINGS[inner])
        values = inner
        if not isinstance(values, dict):
            raise UsageError(f"--set {_dotted(parts)}: '{_dotted([parent])}' is not a section")
    values[last] = value


def _first_problem(error: ValidationError, place: str, values: dict[str, Any]) -> str:
    problem = error.errors(include_url=False)[0]
    key = _dotted(problem["loc"])
    where = f"setting '{key}'{_whose(values, problem['loc'])}" if key else "settings"
    if problem["type"] == "extra_forbidden":
        return f"unknown {where} = {_shown(problem['input'])}{_suggestion(problem['loc'])} ({place})"
    if problem["type"] == "missing":
        return f"{where} is missing; add it to {place} or give --set {key}=VALUE"
    if problem["type"] == "string_type":
        what = "part of a key with a dot in it" if isinstance(problem["input"], dict) else "text"
        return f"{where} = {_shown(problem['input'])}: a {what} stands in quotation marks ({place} or --set)"
    message = problem["msg"].removeprefix("Value error, ")
    value = "" if isinstance(problem["input"], dict) else f" = {_shown(problem['input'])}"
    return f"{where}{value}: {message[0].lower() + message[1:]} ({place} or --set)"


def _whose(values: Any, location: tuple[int | str, ...]) -> str:
    """The name of the row of a list that a key is in, such as a strategy's."""
    for part in location:
        try:
            values = values[part]
        except (LookupError, TypeError):
            return ""
        if isinstance(part, int) and isinstance(values, dict) and "name" in values:
            return f" of '{_dotted([values['name']])}'"
    return ""


def _dotted(parts: Iterable[int | str]) -> str:
    """A key on one line, whatever is in it."""
    return repr(".".join(map(str, parts)))[1:-1]


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _suggestion(location: tuple[int | str, ...]) -> str:
    """The key that was perhaps meant: one of the same section, or of the same name elsewhere."""
    *section, name = map(str, location)
    if isinstance(location[-2:][0], int):  # a row of a list
        known = list(_type_at(location[:-1]).model_fields)
        close = difflib.get_close_matches(name, known, n=1)
        return f"; did you mean '{close[0]}'?" if close else f"; known keys here: {', '.join(known)}"
    inside = [key for key in setting_keys() if list(key[: len(section)]) == section]
    beside = list(dict.fromkeys(key[len(section)] for key in inside))
    if meant := [key for key in inside if _may_mean(name, key[-1])]:
        return f"; did you mean '{'.'.join(meant[0])}'?"
    if close := difflib.get_close_matches(name, beside, n=1):
        return f"; did you mean '{close[0]}'?"
    if meant := [key for key in setting_keys() if _may_mean(name, key[-1])]:
        return f"; did you mean '{'.'.join(meant[0])}'?"
    return f"; known keys here: {', '.join(beside)}" if beside else ""


def _may_mean(name: str, setting: str) -> bool:
    """Whether a setting has that name, begins with it, or has it for its initials (``lr``)."""
    initials = "".join(word[0] for word in setting.split("_"))
    return len(name) > 1 and (setting.startswith(name) or name == initials)


def setting_keys(model: type[BaseModel] = Config, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The keys of all settings, in their order, but for what stands inside tables of names and lists."""
    keys: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        kind, key = field.annotation, (*prefix, name)
        is_section = isinstance(kind, type) and issubclass(kind, Section)
        keys += setting_keys(kind, key) if is_section else [key]
    return keys
