"""What a model thinks before it answers is no part of its answer: taken out, noted, kept in the raw reply."""

import json

import pytest
from fakes import reworded, use_fakes

from emogap.config import Gates
from emogap.lm.engines.engine import Reply
from emogap.records import REWRITES, read_rows
from emogap.store.artefacts import RULE, manifest_path
from emogap.stories import rewrite as rewrites
from emogap.stories.gates import STORY_GATES, Candidate, clean, failures
from emogap.stories.gating import read_reply

STORY = (
    "Mira carried the lantern down to the boat. It swung in her hand and threw long shadows on the sand. "
    "She was not afraid, for her brother sang behind her all the way."
)
PLAN = "The user wants a story.\n\nMaybe a boat? Story: A boat."
HARMONY = "<|channel|>{}<|message|>"
NEXT = "<|end|><|start|>assistant"

BLOCKS = {
    "think": f"<think>{PLAN}</think>\n\n{STORY}",
    "nothing thought": f"<think>\n\n</think>\n\n{STORY}",
    "thinking": f"<thinking>\n{PLAN}\n</thinking>\n{STORY}",
    "capitals and attributes": f'<THINK effort="low">{PLAN}</Think >{STORY}',
    "reasoning": f"<reasoning>{PLAN}</reasoning>\n<answer>\n{STORY}\n</answer>",
    "begin_of_thought": f"<|begin_of_thought|>{PLAN}<|end_of_thought|>"
    f"<|begin_of_solution|>\n{STORY}\n<|end_of_solution|>",
    "START_THINKING": f"<|START_THINKING|>{PLAN}<|END_THINKING|><|START_RESPONSE|>{STORY}<|END_RESPONSE|>",
    "brackets": f"[THINK]{PLAN}[/THINK]{STORY}",
    "a name before it": f"<seed:think>{PLAN}</seed:think>{STORY}",
    "its beginning stood in the prompt": f"{PLAN}\n</think>\n\n{STORY}",
    "one in another": f"<think>{PLAN}<think>Hm.</think> Well.</think>{STORY}",
    "another mark at its end": f"<think>{PLAN}</thinking>{STORY}",
    "twice": f"<think>{PLAN}</think>{STORY[:43]}<think>Go on.</think>{STORY[43:]}",
    "behind the story": f"{STORY}\n\n<think>{PLAN}</think>",
    "behind the story, without an end": f"{STORY}\n\n<think>{PLAN}",
    "channels": f"{HARMONY.format('analysis')}{PLAN}{NEXT}{HARMONY.format('final')}{STORY}<|return|>",
    "three channels": f"{HARMONY.format('analysis')}{PLAN}{NEXT}{HARMONY.format('commentary')}Hm."
    f"{NEXT}{HARMONY.format('final')}{STORY}",
    "channels without their marks": f"analysis{PLAN}assistantfinal{STORY}",
    "a title and a label within": f"<think>{PLAN}</think>\n**The Boat**\n\nStory: {STORY}",
}
ENDLESS = {
    "think": f"<think>{PLAN}",
    "reasoning": f"  <reasoning>\n{PLAN}",
    "begin_of_thought": f"<|begin_of_thought|>{PLAN}",
    "nothing behind its end": f"{PLAN}</think>\n",
    "a second one": f"<think>{PLAN}</think>\n<think>But then again.",
    "channels": HARMONY.format("analysis") + PLAN,
    "channels without their marks": f"analysis{PLAN}",
}


@pytest.mark.parametrize("reply", BLOCKS.values(), ids=BLOCKS)
def test_reasoning_is_taken_out_and_noted(reply):
    text, notes = clean(reply)
    assert text == STORY
    assert any(note.startswith("reasoning: ") for note in notes)
    assert clean(text) == (text, [])
    assert failures(Candidate(text), Gates(), STORY_GATES) == []


@pytest.mark.parametrize("reply", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize("truncated", ["reject", "trim"])
def test_a_reply_that_ends_in_its_reasoning_has_no_text(reply, truncated):
    text, notes, _ = read_reply(reply, "length", "", truncated)
    assert text == "" and notes[0].startswith("reasoning: ")
    assert failures(Candidate(text, cut=True), Gates(), STORY_GATES) == ["empty"]


@pytest.mark.parametrize(
    "text",
    [
        f"{STORY} I think, she said, that <3 is a heart.",
        f"Analysis was his trade. {STORY}",
        f"analysis of wind. {STORY}",
    ],
)
def test_talk_of_thinking_stays(text):
    assert clean(text) == (text, [])


@pytest.fixture
def engine(monkeypatch):
    return use_fakes(monkeypatch, reworded)


@pytest.fixture
def settings(make_config):
    return make_config("rewrite.versions=['v3']", "rewrite.count=4")


def rules(recipe) -> set[str]:
    return {name for name in recipe.identities if name.startswith(RULE)}


def test_rewrites_go_through_the_gates_without_their_reasoning(settings, engine):
    def thoughtful(conversation):
        if len(seen) % 2:
            seen.append(conversation.id)
            return Reply(conversation.id, f"<think>{PLAN}", 1, 64, "length", 0.0)
        seen.append(conversation.id)
        return f"<think>{PLAN}</think>{reworded(conversation)}"

    seen: list[str] = []
    engine.reply = thoughtful
    rewrites.rewrite(settings)
    rows = read_rows(settings.home.rewrite_rows("v3"), REWRITES)
    assert sorted(rows["reason"].fillna("kept")) == ["empty", "empty", "kept", "kept"]
    assert rows["reply"].str.startswith("<think>").all() and not rows["output"].str.contains("think").any()
    assert rows["notes"].map(lambda notes: notes[0].startswith("reasoning: <think>The user wants")).all()


def test_rows_made_before_are_checked_anew_and_nothing_is_written_anew(settings, engine):
    rewrites.rewrite(settings)
    (version,) = rewrites.rewrite_versions(settings)
    assert (rules(version.recipe), rules(version.parts_recipe)) == ({f"{RULE}judging"}, set())
    before = read_rows(version.path, REWRITES)
    path = manifest_path(version.path)
    manifest = json.loads(path.read_text())
    del manifest["identities"][f"{RULE}judging"]
    path.write_text(json.dumps(manifest))
    assert [reason.split(" →")[0] for reason in version.freshness().reasons] == ['rule judging "1"']
    rewrites.rewrite(settings)
    assert engine.opened == 1 and version.freshness().state == "fresh"
    assert read_rows(version.path, REWRITES)["output"].tolist() == before["output"].tolist()
