"""What the setting ``controls`` adds: to every training the same one on text without that training's emotion.

For a causal LM on a corpus of stories: on as many words of stories that were asked for without emotion (``-plain``),
and, from a base, on as many of emotional lines as they are (``-lines``), so many together as a story has words: a model
that learns lines one by one learns to end, and answers nothing. For SFT on rewrites: on the original answers of exactly
these rewrites (``-orig``). A training that starts from another has a control that starts from the other's control, so
that ``-baby-instr`` has ``-plain-orig``. Each is trained under the settings of its kind, as what it controls: the same
steps where ``max_steps`` sets them, the same epochs over as many words elsewhere.
"""

from typing import Any

PLAIN = "m0"
"""The method that asks for a story without any emotion; its prompt is that of m1 but for this."""
ORIGINAL = "original:"
"""Before a version of the rewrites: the answers that it rewrote."""

NEW = "new:"
"""Before the name of a size: a parent that is none, but random weights of that size and a tokenizer of their own."""


def is_new(strategy: Any) -> bool:
    """Whether a ``Strategy`` trains a model from scratch."""
    return strategy.parent.startswith(NEW)


def with_controls(config: Any) -> dict[str, Any]:
    """The fields ``strategies``, ``corpora`` and ``augment`` of a ``Config`` (whose validation calls this) with what
    controls need; rows of these names that are there stay as they are."""
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
    """Of a ``Strategy``'s controls: the names behind their parent's, their data, and the ``Corpus`` that these are.

    None for a training that has no emotional text of which the study has the neutral: on records of one's own, on
    factual text alone, on original answers.
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
