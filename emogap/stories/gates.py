"""Checks of a model's reply: what is stripped before it is read, and the gates that it must pass to be kept.

A gate is a function ``(candidate, bounds) -> bool`` that is true when the reply fails; its name is the reason that a
rejected row carries. Gates read one reply alone; duplicates are found among the replies of one table.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from emogap.config import Gates, RewriteGates
from emogap.emotions import LABELS
from emogap.text.near_duplicates import contained_share, near_duplicates, normalised, shingles, text_key
from emogap.text.words import plain, unsuitable_words


@dataclass(frozen=True)
class Candidate:
    """A reply as the gates see it: its texts are in one spelling (``plain``), so that ``I’m`` is ``I'm``."""

    text: str
    """What ``clean`` left of the reply."""
    context: str = ""
    """The line of text a story grows out of; for a rewrite the original answer."""
    prompt: str = ""
    """The template and the worked examples that the model saw."""
    cut: bool = False
    """Whether the reply ended at the token limit in the middle of a sentence."""
    emotion_score: float | None = None
    """The classifier's score of the wanted emotion; None where it was not measured or none was wanted."""
    similarity: float | None = None
    """Cosine similarity to the original answer; None where it was not measured."""

    def __post_init__(self) -> None:
        for name in ("text", "context", "prompt"):
            object.__setattr__(self, name, plain(getattr(self, name)))


Gate = Callable[[Candidate, Gates], bool]

# ---------------------------------------------------------------------------------------------- reading a reply


def _any_of(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{alternative})" for alternative in alternatives), re.IGNORECASE)


_EMOTION = "|".join(LABELS)
_TEXT_KIND = (
    r"story|text|output|answer|response|version|monologue|play|fairy tale|newspaper article|article|article text"
)
_LABEL_END = r"(?:\*\*)?[ \t]*(?::|=>|->)(?:\*\*)?\s*"
_LABEL = _any_of(
    rf"(?:\*\*)?(?:{_EMOTION})(?:(?:,| and|, and) (?:{_EMOTION}))*{_LABEL_END}",
    r"(?:\*\*)?(?:the |my |a )?(?:(?:short|rewritten|revised|emotional|new|desired|final|original) )*"
    rf"(?:{_TEXT_KIND}){_LABEL_END}",
)
_TITLE = _any_of(
    r"(?:\*\*)?(?:title|headline)(?:\*\*)?[ \t]*:[^\n]*(?:\n+|$)",
    r"#+[ \t][^\n]*(?:\n+|$)",
    r"\*\*[^*\n]{1,80}\*\*(?:\n+|$)",
)
_QUOTE_PAIRS = {'"': '"', "“": "”"}

# Reasoning before the answer, found by the marks that reasoning models put around it. Of Harmony's channels all but the
# final one are reasoning, also where the engine removed the special tokens and left the channels' names.
_THINKING = r"(?:[\w.-]+:)?(?:think(?:ing)?|thoughts?|thought_process|reason(?:ing)?|reflection|scratchpad|analysis)"
_THOUGHT_BEGINS = _any_of(
    rf"<\|?{_THINKING}(?:\s[^<>]*)?\|?>",
    r"\[THINK\]|◁think▷|<\|(?:begin_of_thought|start_thinking)\|>",
    r"<\|channel\|?>(?!\s*final\b)[^<]*(?:<\|message\|>)?",
    r"\A(?-i:analysis|commentary)(?=(?-i:[A-Z]))",
)
_THOUGHT_ENDS = _any_of(
    rf"</{_THINKING}\s*>|<\|/{_THINKING}\|>",
    r"\[/THINK\]|◁/think▷|<\|(?:end_of_thought|end_thinking)\|>",
    r"<\|channel\|>\s*final\b[^<]*<\|message\|>|<channel\|>",
    r"(?-i:assistant(?:final(?=\W*[A-Z\"“*#])))",
)
_ANSWER_MARK = _any_of(
    r"\A</?(?:final_)?(?:answer|response|output|story|text|solution|rewritten_\w+)>"
    r"|</(?:final_)?(?:answer|response|output|story|text|solution|rewritten_\w+)>\Z",
    r"\A<\|(?:begin_of_solution|start_response|begin_of_box)\|>"
    r"|<\|(?:end_of_solution|end_response|end_of_box|return|end|im_end|eot_id)\|>\Z",
)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s|$)")


def clean(reply: str, context: str = "") -> tuple[str, list[str]]:
    """The text of a reply without what only surrounds it, and notes on what was removed.

    Removed are blocks of reasoning, marks of an answer (``<answer>``), labels (``Story:``, ``Relief:``), a title line,
    quotation marks around the whole, and a first line that repeats the context. The text is empty for a reply that is
    nothing but a label, or reasoning that does not end.
    """
    text, notes = reply.strip(), []
    while taken := _wrapping(text, context):
        what, rest = taken
        notes.append(what)
        text = rest.strip()
    return text, notes


def _wrapping(text: str, context: str) -> tuple[str, str] | None:
    """(what was found at the outside of the text, the text without it); None if there is nothing."""
    thought, rest = without_reasoning(text)
    if thought:
        return f"reasoning: {' '.join(' '.join(thought).split())[:60]}", rest
    mark = _ANSWER_MARK.search(text)
    if mark:
        return f"mark: {mark.group()}", text[: mark.start()] + text[mark.end() :]
    for pattern, what in ((_TITLE, "title"), (_LABEL, "label")):
        match = pattern.match(text)
        if match:
            return f"{what}: {match.group().strip()[:60]}", text[match.end() :]
    if len(text) > 1 and _QUOTE_PAIRS.get(text[0]) == text[-1] and not set('"“”') & set(text[1:-1]):
        return "quotation marks", text[1:-1]
    first, line_break, rest = text.partition("\n")
    if line_break and context and text_key(first) == text_key(context) and not _LEAK_MARK.search(first):
        return "the context as a first line", rest
    return None


def without_reasoning(reply: str) -> tuple[list[str], str]:
    """The blocks of reasoning of a reply, marks and all, and the reply without them.

    The text before an end mark without a beginning is reasoning too (the beginning stood in the prompt), and so is all
    text after a beginning without an end (the reply was cut).
    """
    blocks, rest = [], reply
    while begin := _THOUGHT_BEGINS.search(rest):
        end = _THOUGHT_ENDS.search(rest, begin.end())
        if end is None:
            break
        blocks.append(rest[begin.start() : end.end()])
        rest = rest[: begin.start()] + rest[end.end() :]
    for end in list(_THOUGHT_ENDS.finditer(rest))[-1:]:
        blocks.append(rest[: end.end()])
        rest = rest[end.end() :]
    if begin := _THOUGHT_BEGINS.search(rest):
        blocks.append(rest[begin.start() :])
        rest = rest[: begin.start()]
    return blocks, rest


def ends_well(text: str) -> bool:
    """Whether the text ends at the end of a sentence."""
    return bool(re.search(r"[.!?…][\"'”’)\]*]*$", text.rstrip()))


def trim_to_sentence(text: str) -> str:
    """The text up to its last full sentence; empty if it has none."""
    ends = list(_SENTENCE_END.finditer(text))
    return text[: ends[-1].end()] if ends else ""


def sentences(text: str) -> list[str]:
    """The text cut after full stops, question and exclamation marks, and at line breaks."""
    parts = re.split(r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<=[.!?…])[\"'”’)]*\s+|\n+", text)
    return [part.strip() for part in parts if part.strip()]


def outside_quotes(text: str) -> str:
    """The text without what stands between double quotation marks: what the narrator says."""
    return re.sub(r"\"[^\"\n]*\"|“[^”\n]*”", " ", text)


# ---------------------------------------------------------------------------------------------- gates on one reply


def empty(candidate: Candidate, bounds: Gates) -> bool:
    """No word at all."""
    return not normalised(candidate.text)


def too_short(candidate: Candidate, bounds: Gates) -> bool:
    """Fewer white-space-separated words than the minimum."""
    return len(candidate.text.split()) < bounds.min_words


def too_long(candidate: Candidate, bounds: Gates) -> bool:
    """More words than the maximum."""
    return len(candidate.text.split()) > bounds.max_words


def truncated(candidate: Candidate, bounds: Gates) -> bool:
    """Cut at the token limit."""
    return candidate.cut


_MODEL = r"(?:an? )?(?:ai|artificial intelligence|(?:large )?language model|virtual assistant|helpful assistant)\b"
_ASSISTANT_ANYWHERE = _any_of(
    rf"\bas {_MODEL}",
    rf"\bi(?:'m| am) (?:just |only )?{_MODEL}",
    r"\bhow (?:can|may) i (?:help|assist) you today",
    r"\b(?:generate|create|write) a story (?:based|around|for you|on|about your|that matches)",
    r"\byour prompt\b|\bemotion and context\b",
)
_ASSISTANT_BEGINNING = _any_of(
    r"i(?:'m| am) (?:so |really |very )?sorry to hear",
    r"i(?:'m| am) (?:so |really |very )?sorry,? but (?:i|we|you|the|it|that|this|there|as|your|could)\b",
    r"i(?:'m| am) (?:so |really |very )?sorry,? (?:i|we) (?:can|do|am|cannot|didn|couldn|don|could)",
    r"i(?:'m| am) (?:so |really |very )?sorry[.,]? (?:can|could) you",
    r"i apologi[sz]e|i understand\b|it (?:sounds|seems) like you|you seem to be\b",
    r"it(?:'s| is) (?:okay|natural|understandable|normal|important) (?:if|to (?:feel|remember|be)|that|for)\b",
    r"i (?:can(?:no|')t|am (?:not able|unable) to) (?:write|create|provide|generate|help (?:you|with)|assist)",
    r"i (?:don't|do not) (?:know|understand) (?:what you (?:mean|are|'re)|the (?:prompt|context|question))",
    r"(?:sure|certainly|of course|absolutely|okay|ok|yes|great)[,!.:]? "
    r"(?:here(?:'s| is| are)|i(?:'ll| can| will|'d| would)|let me|what|which)",
    rf"here(?:'s| is) (?:a|an|the|my|your|one|another) (?:\w+ ){{0,4}}(?:{_TEXT_KIND}|rewrite|tale)",
    r"(?:in )?(?:this (?:short )?(?:story|text|context|passage)|the (?:story|context|given \w+|line of text))\b"
    r"[^.\n]{0,40}\b(?:is|describes|shows|tells|should|captures|about|conveys|expresses|suggests|appears|seems)\b",
    r"based on the (?:given|context|provided|text)",
    r"the (?:rewritten|revised|original|given) (?:output|answer|instruction|text|context)\b",
    r"(?:can|could) you (?:please )?(?:tell me more|provide|give me|explain|clarify|be more specific)",
    r"(?:please )?(?:provide|clarify|let me know)\b",
)
_ASSISTANT_END = _any_of(
    r"\b(?:can|could|would) you (?:please )?(?:tell me more|give me (?:some )?more|elaborate|clarify)",
    r"\b(?:can|could|would) you please (?:explain|remind|rephrase|repeat)",
    r"\bprovide (?:me )?(?:with )?(?:the |some |any )?(?:more|additional|further|emotion)",
    r"\blet me know if\b|\bfeel free to (?:ask|reach|let)|\bi hope (?:this|that|it) (?:helps|meets)",
    r"\bis there (?:any|some)thing (?:else|specific|i can)|\bhow can i (?:help|assist)|\bi'm happy to help\b",
    r"\bdo you have any (?:other )?questions",
    r"\bwould you like (?:me|to (?:know|hear|learn|share|talk|tell))",
    r"\bif you have any (?:other |more |further )?questions|\bi need more (?:context|information)\b",
)
_EXPLAINING = _any_of(
    r"(?:note(?: that)?|explanation)\b",
    r"in this (?:story|text|version|rewrite|passage|example)\b",
    r"this (?:story|text|version|rewrite|passage) "
    r"(?:is|has|uses|shows|captures|conveys|expresses|teaches|demonstrates|illustrates)\b",
    r"the (?:story|text|emotion|rewritten \w+|original output) (?:is|conveys|captures|shows|uses|expresses|of this)\b",
)


def assistant_talk(candidate: Candidate, bounds: Gates) -> bool:
    """The assistant speaks instead of the narrator: a refusal, an apology, an offer, an explanation of the text.

    Most phrases count only at the beginning or in the last two sentences: in dialogue, or in the middle of a text, they
    are part of the story.
    """
    told = outside_quotes(candidate.text).strip()
    if _ASSISTANT_ANYWHERE.search(told):
        return True
    parts = sentences(told)
    if not parts or _ASSISTANT_BEGINNING.match(candidate.text):
        return bool(parts)
    return any(_ASSISTANT_END.search(part) or _EXPLAINING.match(part) for part in parts[-2:])


_LEAK_MARK = re.compile(r"=>|\[/?INST\]|<</?SYS>>|<\|[a-z_]+\|>|</?s>|\{(?:emotion|context|instruction|input|output)\}")
_LEAK_LABEL = re.compile(
    r"(?:^|\n|[.!?\"] )[*#\s]*"
    r"(?:instructions?|desired emotion|emotions?|context|genre|main character|rules|guidelines|objective|input|output"
    r"|(?:rewritten|original) (?:output|answer|text)|(?:your |new )?story|answer|text|example \d*)\**:",
    re.IGNORECASE,
)


def prompt_leak(candidate: Candidate, bounds: Gates) -> bool:
    """A mark or a field of the prompt stands in the reply and did not stand in what it was made from."""
    if set(_LEAK_MARK.findall(candidate.text)) - set(_LEAK_MARK.findall(candidate.context)):
        return True
    return bool(_LEAK_LABEL.search(candidate.text)) and not _LEAK_LABEL.search(candidate.context)


def copied_context(candidate: Candidate, bounds: Gates) -> bool:
    """Most of the reply repeats the context."""
    return contained_share(candidate.text, candidate.context) > bounds.max_copied_share


def copied_example(candidate: Candidate, bounds: Gates) -> bool:
    """Most of the reply stood in the template or in its examples."""
    return len(shingles(candidate.text) & _prompt_shingles(candidate.prompt)) > bounds.max_copied_share * len(
        shingles(candidate.text)
    )


@lru_cache(maxsize=64)
def _prompt_shingles(prompt: str) -> frozenset[str]:
    return frozenset(shingles(prompt))


_MIN_REPEATED_WORDS = 5
_MAX_REPEATED_SHARE = 0.25


def repeated_sentence(candidate: Candidate, bounds: Gates) -> bool:
    """A sentence occurs too often; one of fewer than five words counts only if it fills over a quarter of the text."""
    counts = Counter(normalised(sentence) for sentence in sentences(candidate.text))
    total = len(normalised(candidate.text).split())
    return any(
        count > bounds.max_sentence_repeats
        and (len(s.split()) >= _MIN_REPEATED_WORDS or count * len(s.split()) > _MAX_REPEATED_SHARE * total)
        for s, count in counts.items()
    )


_MARKUP = re.compile(
    r"!\[[^\]]*\]\(|https?://|www\.|```|</?(?:div|span|p|br|img|a|b|i|h[1-6])\b[^>]*>|(?<!\S)#[A-Za-z]\w+"
)


def markup(candidate: Candidate, bounds: Gates) -> bool:
    """An address, an image, a hashtag, a block of code or HTML that was not in what it was made from."""
    return bool(_MARKUP.search(candidate.text)) and not _MARKUP.search(candidate.context)


def control_characters(candidate: Candidate, bounds: Gates) -> bool:
    """Characters that no text has: controls, private use, the mark of broken decoding."""
    return any(
        c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Co", "Cs") and c not in "\n\t\r") for c in candidate.text
    )


_FUNCTION_WORDS = frozenset((
    "the", "a", "an", "and", "or", "but", "of", "to", "in", "on", "at", "for", "with", "from", "by", "is", "are",
    "was", "were", "be", "been", "it", "its", "he", "she", "they", "i", "you", "we", "his", "her", "their", "my",
    "your", "our", "this", "that", "these", "those", "as", "not", "no", "do", "did", "had", "has", "have", "can",
    "could", "will", "would", "there", "so", "if", "when", "who", "what", "which", "them", "him", "me", "us", "up",
    "out", "into", "about", "then", "than", "just", "all", "one",
))  # fmt: skip
_MIN_FUNCTION_SHARE = 0.12
_MIN_WORDS_TO_TELL = 20
_MAX_FOREIGN_LETTERS = 0.1


def other_language(candidate: Candidate, bounds: Gates) -> bool:
    """Over a tenth of the letters are not Latin, or a longer text has hardly any of English's commonest words.

    English prose has 40 % of them and more; lists have fewer.
    """
    letters = [c for c in candidate.text if c.isalpha()]
    foreign = sum(not unicodedata.name(c, "").startswith("LATIN") for c in letters)
    if letters and foreign / len(letters) > _MAX_FOREIGN_LETTERS:
        return True
    words = normalised(candidate.text).split()
    if len(words) < _MIN_WORDS_TO_TELL:
        return False
    return sum(word in _FUNCTION_WORDS for word in words) / len(words) < _MIN_FUNCTION_SHARE


def unsuitable(candidate: Candidate, bounds: Gates) -> bool:
    """The reply has a word that is not for small children, whether or not the text that it was made from has it."""
    return bounds.unsuitable and bool(unsuitable_words(candidate.text))


def emotion_missing(candidate: Candidate, bounds: Gates) -> bool:
    """The classifier does not find the wanted emotion."""
    return candidate.emotion_score is not None and candidate.emotion_score < bounds.min_emotion_score


def unchanged(candidate: Candidate, bounds: Gates) -> bool:
    """The answer equals the original one, but for case, punctuation and white space."""
    return normalised(candidate.text) == normalised(candidate.context)


_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:/]\d+)*")
_LIST_NUMBER = re.compile(r"(?m)^\s*\d+[.)]\s")
_SPELT_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip


def numbers(text: str) -> set[str]:
    """The numbers of a text, without those that count the items of a list; ``1,000`` is ``1000``."""
    return _all_numbers(_LIST_NUMBER.sub("", plain(text)))


def _all_numbers(text: str) -> set[str]:
    return {number.replace(",", "") for number in _NUMBER.findall(text)}


def names(text: str) -> set[str]:
    """Capitalised words that do not begin a sentence, a line or a quotation, lower-cased; headlines have none.

    A function word is no name, nor is a word that the text also writes in small letters.
    """
    text = plain(text)
    small = set(re.findall(r"\b[a-z][\w'-]*", text))
    found = set()
    for sentence in sentences(text):
        words = [word for word in re.findall(r"[A-Za-z][\w'-]*", sentence) if len(word) > 3]
        if len(words) < 4 or not all(word[0].isupper() for word in words):
            found |= {name.lower() for name in re.findall(r"(?<=[\w,;')] )[A-Z][\w'-]+", sentence)}
    found = {name.removesuffix("'s") for name in found}
    return {name for name in found - small - _FUNCTION_WORDS if not name.startswith("i'")}


def lost(original: str, rewritten: str) -> set[str]:
    """Numbers and names of the original answer that the rewritten one lacks; a number may be spelt out."""
    words = set(normalised(rewritten).split())
    spelt = {str(value) for value, word in enumerate(_SPELT_NUMBERS) if word in words}
    missing_names = {name for name in names(original) if not set(normalised(name).split()) <= words}
    # In the rewritten text the numbers of list items count too: an answer that is only a number can look like an item.
    return (numbers(original) - _all_numbers(plain(rewritten)) - spelt) | missing_names


def facts_lost(candidate: Candidate, bounds: RewriteGates) -> bool:
    """More of the original's numbers and names are missing than allowed."""
    stated = numbers(candidate.context) | names(candidate.context)
    return len(lost(candidate.context, candidate.text)) > bounds.max_lost_share * len(stated)


def meaning_lost(candidate: Candidate, bounds: RewriteGates) -> bool:
    """Too little similarity between the original and the rewritten answer."""
    return candidate.similarity is not None and candidate.similarity < bounds.min_similarity


COMMON_GATES: tuple[Gate, ...] = (
    empty, control_characters, assistant_talk, prompt_leak, markup, other_language, unsuitable, too_short, too_long,
    truncated, repeated_sentence, copied_example,
)  # fmt: skip
STORY_GATES: tuple[Gate, ...] = (*COMMON_GATES, copied_context, emotion_missing)
REWRITE_GATES: tuple[Gate, ...] = (*COMMON_GATES, unchanged, facts_lost, meaning_lost, emotion_missing)


def failures(candidate: Candidate, bounds: Gates, gates: Iterable[Gate]) -> list[str]:
    """The names of all gates that the reply fails, the gravest first. An empty reply fails that gate alone."""
    if empty(candidate, bounds):
        return ["empty"]
    return [gate.__name__ for gate in gates if gate(candidate, bounds)]


# ---------------------------------------------------------------------------------------------- among replies


def duplicates(texts: Mapping[str, str], bounds: Gates) -> dict[str, tuple[str, str]]:
    """Id → (reason, id of the earlier text) for every text that repeats an earlier one, whole or in its opening.

    ``texts``: id → text, earlier ones first.
    """
    found: dict[str, tuple[str, str]] = {}
    for identifier, earlier in near_duplicates(texts.items(), bounds.max_similarity):
        found[identifier] = ("duplicate", earlier)
    openings: dict[str, str] = {}
    for identifier, text in texts.items():
        words = normalised(text).split()
        opening = " ".join(words[: bounds.opening_words])
        if len(words) < bounds.opening_words or identifier in found:
            continue
        if opening in openings:
            found[identifier] = ("duplicate_opening", openings[opening])
        else:
            openings[opening] = identifier
    return found
