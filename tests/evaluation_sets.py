"""Files in the forms of the BabyLM challenge's ``evaluation_data``, every sentence of them made up here."""

import json
import random
from pathlib import Path

NAMES = ("Mara", "Tobi", "Ines", "Karl", "Ruth", "Oskar", "Lotte", "Emil")
THINGS = ("the bell", "the shoe", "the lamp", "the coin", "the map", "the pear")
TALL = (("taller", "shorter"), ("older", "younger"), ("faster", "slower"), ("richer", "poorer"))
ANIMALS = (("a duck", "a mouse", "can swim."), ("a bee", "a cat", "makes honey."), ("a hen", "a dog", "lays eggs."))
STEMS = ("tarnish", "bolent", "crisk", "dravel", "plimish", "sorient", "wunt", "grable")


def write_set(folder: Path, **files: list[dict]) -> Path:
    """``<name>.jsonl`` of each; double underscores stand for hyphens."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{name.replace('__', '-')}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def pair(draw: random.Random, **more) -> dict:
    who, whom, thing = *draw.sample(NAMES, 2), draw.choice(THINGS)
    good = f"{who} and {whom} were looking for {thing}."
    return {"sentence_good": good, "sentence_bad": good.replace("were", "was"), **more}


def world(draw: random.Random, domain: str) -> dict:
    who, whom, (more, less) = *draw.sample(NAMES, 2), draw.choice(TALL)
    contexts = f"{who} is {more} than {whom}.", f"{who} is {less} than {whom}."
    targets = f"{whom} is {less} than {who}.", f"{whom} is {more} than {who}."
    texts = dict(zip(("Context1", "Context2", "Target1", "Target2"), (*contexts, *targets), strict=True))
    return texts | {"Domain": domain, "ContextType": "direct", "ContextDiff": "antonym", "TargetDiff": "antonym"}


def entities(draw: random.Random, operations: int) -> dict:
    held = dict(enumerate(draw.sample(THINGS, 5)))
    told = [f"Box {box} contains {thing}" for box, thing in held.items()]
    moves = []
    for _ in range(operations):
        one, other = draw.sample(range(5), 2)
        moves.append(f" Swap the contents of Box {one} and Box {other}.")
        held[one], held[other] = held[other], held[one]
    asked = draw.randrange(5)
    options = [f" {held[asked]}.", *(f" {thing}." for box, thing in held.items() if box != asked)]
    text = ", ".join(told) + "." + "".join(moves) + f" Box {asked} contains"
    return {"input_prefix": text, "options": options, "numops": operations}


def concept(draw: random.Random, made_up: bool = False) -> dict:
    right, wrong, phrase = draw.choice(ANIMALS)
    before = f"{draw.choice(STEMS)} is like " if made_up else ""
    return {
        "prefix_acceptable": before + right, "prefix_unacceptable": before + wrong, "property_phrase": phrase,
        "negative_sample_type": "random",
    }  # fmt: skip


def wug(draw: random.Random, endings: tuple[str, str]) -> dict:
    stem = draw.choice(STEMS)
    texts = [f"{draw.choice(NAMES)} spoke of {stem}{ending} all day." for ending in endings]
    return {"sentences": "\t".join(texts), "ratio": round(draw.random(), 3)}


def write_evaluation(root: Path, records: int = 4, seed: int = 0) -> Path:
    """``evaluation_data`` with its full and fast sets and what is no comparison of texts; so many records a subtask."""
    draw, full, fast = random.Random(seed), root / "full_eval", root / "fast_eval"
    number = range(records)
    phenomena = {"transitive": "argument_structure", "wh_island": "island_effects"}
    blimp = {
        uid: [pair(draw, UID=uid, field="syntax", linguistics_term=term, pairID=str(place)) for place in number]
        for uid, term in phenomena.items()
    }
    write_set(full / "blimp_filtered", **blimp)
    write_set(full / "supplement_filtered", hypernym=[pair(draw) for _ in number], turn_taking=[pair(draw)] * records)
    domains = ("agent-properties", "social-relations")
    write_set(full / "ewok_filtered", **{d.replace("-", "__"): [world(draw, d) for _ in number] for d in domains})
    tracking = {
        split: [entities(draw, operations) for operations in range(3) for _ in number]
        for split in ("regular", "ambiref", "move_contents")
    }
    write_set(full / "entity_tracking", **tracking)
    write_set(
        full / "comps",
        comps_base=[concept(draw) for _ in number],
        **{f"comps_wugs{kind}": [concept(draw, True) for _ in number] for kind in ("", "_dist__before")},
        comps_wugs_dist__in__between=[concept(draw, True) for _ in number],
    )
    past = [wug(draw, ("ed", "en")) for _ in number]
    adjectives = [wug(draw, ("ity", "ness")) for _ in number]
    for part in (full, fast):  # the pipeline has them in both
        write_set(part / "wug_adj_nominalization", wug_adj_nominalization=adjectives)
        write_set(part / "wug_past_tense", wug_past_tense=past)
    write_set(fast / "blimp_fast", **{uid: pairs[:2] for uid, pairs in blimp.items()})
    write_set(fast / "entity_tracking_fast", regular=tracking["regular"])
    write_set(full / "glue_filtered", **{"boolq.valid": [{"question": "is it so", "passage": "It is.", "label": 1}]})
    (full / "reading").mkdir(exist_ok=True)
    (full / "reading" / "reading_data.csv").write_text("item,word\n1,The\n", encoding="utf-8")
    return root
