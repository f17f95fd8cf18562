"""Near-duplicates: every pair that reaches the bound and no other, against plain sets; what equals what; recipes."""

import random
import re

import pandas as pd
import pytest

from emogap.babylm.process import process_pieces
from emogap.config import Gates
from emogap.corpus.compile import corpus_pieces
from emogap.records import STORIES, write_rows
from emogap.store.artefacts import RULE
from emogap.stories.gates import clean, duplicates
from emogap.text.near_duplicates import near_duplicates, text_key

BOUNDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def runs_of_five(text: str) -> frozenset[tuple[str, ...]]:
    words = re.sub(r"[^a-z0-9 ]", " ", text.lower()).split()
    return frozenset(tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4)))


def by_brute_force(texts: list[tuple[str, str]], bound: float) -> list[tuple[str, str]]:
    """Every text against every earlier one that stays; of the most similar ones the first."""
    stay, found = [], []
    for identifier, text in texts:
        own = runs_of_five(text)
        alike = [(len(own & other) / len(own | other), earlier) for earlier, other in stay]
        best = max((share for share, _ in alike), default=0)
        if best >= bound:
            found.append((identifier, next(earlier for share, earlier in alike if share == best)))
        else:
            stay.append((identifier, own))
    return found


def pair(common: int, others: int, number: int) -> tuple[str, str]:
    """Two texts with ``common`` runs of five words in common and ``others`` more each: as many words, all different."""
    shared = [f"s{number}x{i}" for i in range(common + 4)]
    return tuple(" ".join([*shared, *(f"{side}{number}x{i}" for i in range(others))]) for side in "ab")


@pytest.mark.parametrize("bound", BOUNDS)
def test_all_pairs_from_the_bound_on_are_found_and_none_below(bound):
    """Similarities of 0.30, 0.31, … 1.00: each of 200 runs in all, one pair of each at the bound itself too."""
    texts, wanted = [], []
    for common in range(60, 202, 2):
        first, second = pair(common, (200 - common) // 2, common)
        assert len(runs_of_five(first) & runs_of_five(second)) / len(runs_of_five(first) | runs_of_five(second)) == (
            common / 200
        )
        texts += [(f"a{common}", first), (f"b{common}", second)]
        if common / 200 >= bound:
            wanted.append((f"b{common}", f"a{common}"))
    assert len(wanted) == round((1 - bound) * 100) + 1
    assert list(near_duplicates(texts, bound)) == wanted


@pytest.mark.parametrize("bound", BOUNDS)
def test_families_of_texts_are_as_by_brute_force(bound):
    """Changed, cut and mixed copies of one another, from no word to eighty."""
    chance = random.Random(round(100 * bound))
    words = [f"w{i}" for i in range(300)]
    texts: list[tuple[str, str]] = []
    for number in range(250):
        own = chance.choices(words, k=chance.choice((1, 3, 4, 5, 6, 30, 80)))
        if texts and chance.random() < 0.7:
            own = chance.choice(texts)[1].split()
            for _ in range(chance.choice((0, 1, 1, 2, 5))):
                place = chance.randrange(len(own))
                own[place : place + chance.randrange(3)] = chance.choices(words, k=chance.randrange(1, 3))
        texts.append((f"t{number}", " ".join(own)))
    found = list(near_duplicates(texts, bound))
    assert found == by_brute_force(texts, bound)
    assert len(found) > 10


def test_at_1_only_equal_texts_repeat_each_other():
    round_and_round = "the wheels go round and the wheels go round and the wheels go round and"
    texts = [
        ("a", round_and_round),
        ("b", f"{round_and_round} the wheels go round and"),  # the same runs of five words
        ("c", f"{round_and_round.upper()}!"),
        ("d", "one two three"),
        ("e", "One. Two, three?"),
        ("f", "one two"),
    ]
    assert list(near_duplicates(texts, 1)) == [("c", "a"), ("e", "d")]
    assert list(near_duplicates(texts, 0.99)) == [("b", "a"), ("c", "a"), ("e", "d")]
    assert duplicates(dict(texts), Gates(max_similarity=1, opening_words=100)) == {
        "c": ("duplicate", "a"), "e": ("duplicate", "d")
    }  # fmt: skip


def test_a_text_without_a_word_equals_its_like_alone():
    texts = [
        ("a", "!!!"),
        ("b", "???"),
        ("c", " !!!\n"),
        ("d", "5 + 3 = 8"),
        ("e", "★ ★ ★ ★ ★ ★"),
        ("f", "★ ★ ★ ★ ★"),
        ("g", "…"),
    ]
    for bound in (0.5, 0.8, 1):
        assert list(near_duplicates(texts, bound)) == [("c", "a")]
    assert text_key("- - ! -") != text_key("- - -") == text_key(" -  -\t-")
    # A first line that has no word is not the context, which has none either.
    assert clean("* * *\nOnce there was a fox.", context="?!") == ("* * *\nOnce there was a fox.", [])


def test_the_most_similar_of_several_is_named():
    first, second = pair(150, 50, 1)
    words = second.split()
    nearer = " ".join([*words[:-10], *(f"c{i}" for i in range(10))])
    # Of the 200 runs of each: first and second share 150 (0.6), second and nearer 190 (0.9).
    assert list(near_duplicates([("a", first), ("b", second), ("c", nearer)], 0.7)) == [("c", "b")]
    assert list(near_duplicates([("a", first), ("b", second), ("c", nearer)], 0.6)) == [("b", "a"), ("c", "a")]


def test_texts_that_are_short_and_equal_are_duplicates():
    assert list(near_duplicates([("1", "Sing!"), ("2", "sing"), ("3", "Dance!")])) == [("2", "1")]


# --- recipes ---------------------------------------------------------------------------------------------------------


def rules(artefact) -> set[str]:
    return {name.removeprefix(RULE) for name in artefact.recipe.identities if name.startswith(RULE)}


def test_a_corpus_names_the_rules_that_can_change_it(make_config):
    def chunk(config, *lines: str) -> None:
        path = config.home.chunk("m1", 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        empty = dict.fromkeys(STORIES.columns, "") | {"seed": 0, "emotions": ["joy"]}
        write_rows(path, pd.DataFrame([empty | {"id": str(i), "text": line} for i, line in enumerate(lines)]), STORIES)

    only = ("corpus.factual=[]", "corpus.methods=['m1']")
    config = make_config(*only)
    chunk(config, "It’s a well-known café, isn't it?")
    assert rules(next(corpus_pieces(config))) == set()
    assert rules(next(corpus_pieces(make_config(*only, "corpus.near_duplicates=0.8")))) == {"near-duplicates"}
    for odd in ("! ! !", "a cafe\u0301"):
        chunk(config, "It’s a well-known café, isn't it?", odd)
        assert rules(next(corpus_pieces(config))) == {"equal texts"}


def test_lines_name_the_rule_where_near_ones_are_dropped(make_config):
    assert [rules(artefact) for artefact in process_pieces(make_config())] == [set()] * 4
    near = make_config("process.duplicates=near")
    assert [rules(artefact) for artefact in process_pieces(near)] == [{"equal texts"}, set(), set(), set()]
