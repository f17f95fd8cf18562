"""What the setting ``controls`` adds: for every training, the same training on text without that training's emotion.

A causal LM on a corpus of stories gets the control ``-plain``, on as many words of stories that were asked for without
emotion, and, if it starts from a base or from scratch, ``-lines``, on as many words of the original emotional lines.
These are joined to documents as long as a story: a model that learns from single lines learns to end at once and gives
empty answers. SFT on rewrites gets ``-orig``, on the original answers of exactly these rewrites. If a training starts
from a trained model, its control starts from that model's control, so ``-baby-instr`` has ``-plain-orig``. A control
has the settings of what it controls: equal steps where ``max_steps`` sets them, else equal epochs over as many words.
"""

from typing import Any

PLAIN = "m0"
"""The method that asks for a story without any emotion; otherwise its prompt is that of m1."""
ORIGINAL = "original:"
"""Prefix of a strategy's ``data``: with a version of the rewrites after it, the answers that this version rewrote."""

NEW = "new:"
"""Prefix of a strategy's ``parent``: with a size after it, random weights of that size and a tokenizer of their own."""


def is_new(strategy: Any) -> bool:
    """Whether a ``Strategy`` trains a model from scratch."""
    return strategy.parent.startswith(NEW)


def with_controls(config: Any) -> dict[str, Any]:
    """The fields ``strategies``, ``corpora`` and ``augment`` of a ``Config`` (whose validation calls this), extended by
    what the controls need. Controls and corpora that the config already has stay as they are."""
    strategies, corpora = list(config.strategies), list(config.corpora)
    control: dict[str, str] = {row.control_of: row.name for row in reversed(strategies) if row.control_of}
    methods = list(config.augment.methods)
    for tuned in config.strategies:
        if tuned.control_of or tuned.name in control:
            continue
        for ending, data, corpus in _neutral(config, tuned):
            parent, new = control.get(tuned.parent, tuned.parent), is_new(tuned)
            taken = [*config.bases, *(row.name for row in strategies)]
            name = f"{parent}-{ending}" if f"{parent}-{ending}" not in taken and not new else f"{tuned.name}-{ending}"
            row = tuned.model_copy(update={"name": name, "parent": parent, "data": data, "control_of": tuned.name})
            strategies.append(row)
            control.setdefault(tuned.name, name)
            if corpus and corpus.name not in [one.name for one in (config.corpus, *corpora)]:
                corpora.append(corpus)
            is_written = corpus is not None and not corpus.lines
            methods += [method for method in corpus.methods if method not in methods] if is_written else []
    augment = config.augment.model_copy(update={"methods": methods})
    return {"strategies": strategies, "corpora": corpora, "augment": augment}


def _neutral(config: Any, tuned: Any) -> list[tuple[str, str, Any]]:
    """The controls of a ``Strategy``: for each the ending of its name, its data, and their ``Corpus``, if they are one.

    Empty for a training whose text has no neutral counterpart in the study: records of one's own, factual text alone,
    original answers.
    """
    if tuned.task == "sft":
        is_version = tuned.data in config.rewrite.versions
        return [("orig", ORIGINAL + tuned.data, None)] if is_version else []
    there = [one for one in (config.corpus, *config.corpora) if one.name == tuned.data]
    if not there or there[0].lines or not set(there[0].methods) - {PLAIN}:
        return []
    own, found = there[0], []
    shared = {"words": f"as:{own.name}", "chunks": {}, "shares": type(own.shares)()}
    for ending, differs in (("plain", {"methods": [PLAIN]}), ("lines", {"lines": "together"})):
        name = ending if own.name == config.corpus.name else f"{own.name}-{ending}"
        found.append((ending, name, own.model_copy(update=shared | differs | {"name": name})))
    return found if tuned.parent in config.bases or is_new(tuned) else found[:1]
