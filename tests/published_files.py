"""The files of the published set-up's data sets as their homes have them, in form and name, filled from the samples."""

import io
import re
import zipfile

from emogap.paths import ROOT

SAMPLE = ROOT / "data" / "sample"
_TEXTS = {
    "aochildes": "child_directed",
    "bnc_spoken": "spoken_dialogue",
    "cbt": "children_stories",
    "children_stories": "children_stories",
    "gutenberg": "children_stories",
    "open_subtitles": "subtitles",
    "qed": "subtitles",
    "switchboard": "spoken_dialogue",
}
"""Name of BabyLM's text → the sample that fills it."""
_HEADING = re.compile(r" ?(= )+(?P<title>[^=]+?)( =)+ ?")


def files_of(data_set: str) -> dict[str, bytes]:
    """Path in a data set's home → what it holds."""
    if data_set.startswith("babylm"):
        return {"babylm_data.zip": _babylm()}
    if data_set == "alpaca":
        return {"alpaca_data_cleaned.json": (SAMPLE / "alpaca.json").read_bytes()}
    if data_set in ("blimp", "emobench"):
        return {f"data/{file.name}": file.read_bytes() for file in sorted((SAMPLE / data_set).iterdir())}
    prompts = (SAMPLE / "emotion_prompts.json").read_bytes()
    return {"quantitative_analysis/emotion_prompts.json": prompts, "LICENSE": b"MIT", "report.pdf": b"%PDF-1.4\n"}


def _babylm() -> bytes:
    """The archive of 2023: two sizes of ten texts each, among them the two factual ones in their own two forms."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, size in enumerate(("10M", "100M")):
            for name, sample in _TEXTS.items():
                lines = (SAMPLE / "babylm" / f"{sample}.train").read_text(encoding="utf-8").splitlines(keepends=True)
                # No two texts of a size are the same: each begins elsewhere.
                start = 10 * (number + list(_TEXTS).index(name))
                archive.writestr(f"babylm_data/babylm_{size}/{name}.train", "".join(lines[start:] + lines[:start]))
            for name, text in _factual().items():
                archive.writestr(f"babylm_data/babylm_{size}/{name}.train", text)
    return packed.getvalue()


def _factual() -> dict[str, str]:
    """Blank lines between the articles of `simple_wikipedia`, headings as ` = = = Title = = = ` in `wikipedia`."""
    lines = (SAMPLE / "babylm" / "simple_wikipedia.train").read_text(encoding="utf-8").splitlines()
    titles = [number for number, line in enumerate(lines) if _HEADING.fullmatch(line)]
    half = titles[len(titles) // 2]
    parted = [_HEADING.sub(r"\n\g<title>", line) for line in lines[:half]]
    return {"simple_wikipedia": "\n".join(parted).strip() + "\n", "wikipedia": "\n".join(lines[half:]) + "\n"}
