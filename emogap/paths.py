"""Where things lie: the repository's root, the home of a run, and the fixed folder names under it."""

import os
from dataclasses import dataclass
from pathlib import Path

from emogap.errors import MissingInput, UsageError

ROOT = Path(__file__).resolve().parents[1]

# Which notebook or script fills which folder of a home; an error about a missing file names it.
MAKERS: dict[str, str] = {
    "processed_data": "process_pretrain_data.py",
    "babylm_augment": "pretrain_data_augment.ipynb",
    "babylm_pretrain_corpus": "pretrain_data_corpus.ipynb",
    "alpaca-instruction": "alpaca-instruction/emotion-alpaca.py",
    "models": "casual_lm.ipynb or fine-tune/sft_instruction.ipynb",
    "quantitative_analysis": "quantitative_analysis/quantitative_analysis.ipynb",
    "model_analysis": "model_analysis.ipynb",
    "prompt_analysis_babylm": "prompt_analysis_babylm.ipynb",
    "prompt_analysis": "prompt_analysis.ipynb",
    "report": "emogap report",
}


_TAKEN = ("figures", "tables", "captions", "captions.json", "superseded")
"""What a stage's folder holds beside its artefacts."""


def _free(name: str, what: str) -> str:
    if name in _TAKEN:
        raise UsageError(f"a {what} cannot be called '{name}': its folder keeps other files there; call it otherwise")
    return name


def from_root(path: str | Path) -> Path:
    """``path`` as given if absolute, else taken from the repository's root, whatever the working directory."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


def cache_dir() -> Path:
    """Where models made ready once are kept: ``$EMOGAP_CACHE``, else ``emogap`` in the user's cache folder."""
    if "EMOGAP_CACHE" in os.environ:
        return Path(os.environ["EMOGAP_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "emogap"


def choose_home(profile: str, home: str | Path | None = None) -> Path:
    """The home of a run: the one given, else ``$EMOGAP_HOME``, else ``runs/<profile>/`` in the repository's root."""
    chosen = home or os.environ.get("EMOGAP_HOME")
    return Path(chosen).expanduser().resolve() if chosen else ROOT / "runs" / profile


@dataclass(frozen=True)
class Home:
    """One run's folder. Every path of an artefact is made here and nowhere else."""

    root: Path

    @property
    def lines(self) -> Path:
        return self.root / "processed_data" / "lines.parquet"

    @property
    def processed(self) -> Path:
        return self.root / "processed_data" / "babylm.parquet"

    @property
    def filtered(self) -> Path:
        return self.root / "processed_data" / "babylm_filtered.parquet"

    @property
    def stories(self) -> Path:
        return self.root / "babylm_augment"

    def chunk(self, method: str, number: int) -> Path:
        return self.stories / method / f"chunk_{number:05d}.parquet"

    @property
    def tried_stories(self) -> Path:
        return self.stories / "tried.jsonl"

    @property
    def story_grid(self) -> Path:
        return self.stories / "grid" / "replies.parquet"

    def corpus(self, name: str) -> Path:
        return self.root / "babylm_pretrain_corpus" / f"{_free(name, 'corpus')}.parquet"

    @property
    def alpaca(self) -> Path:
        return self.root / "alpaca-instruction"

    def rewrites(self, version: str) -> Path:
        return self.alpaca / f"emotion_alpaca_{version}.json"

    def rewrite_rows(self, version: str) -> Path:
        return self.alpaca / f"emotion_alpaca_{version}.rows.parquet"

    @property
    def tried_rewrites(self) -> Path:
        return self.alpaca / "tried.jsonl"

    @property
    def rewrite_grid(self) -> Path:
        return self.alpaca / "grid" / "replies.parquet"

    @property
    def models(self) -> Path:
        return self.root / "models"

    def model(self, name: str) -> Path:
        return self.models / _free(name, "model")

    @property
    def evaluation(self) -> Path:
        return self.root / "quantitative_analysis"

    def responses(self, model: str) -> Path:
        return self.evaluation / "responses" / f"{model}.parquet"

    @property
    def emotions(self) -> Path:
        return self.evaluation / "emotions.parquet"

    def task_scores(self, model: str, task: str) -> Path:
        return self.evaluation / "scores" / model / f"{task}.parquet"

    @property
    def scores(self) -> Path:
        return self.evaluation / "scores.parquet"

    @property
    def lens(self) -> Path:
        return self.root / "model_analysis"

    @property
    def story_stats(self) -> Path:
        return self.root / "prompt_analysis_babylm"

    @property
    def rewrite_stats(self) -> Path:
        return self.root / "prompt_analysis"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def notebooks(self) -> Path:
        return self.root / "notebooks"

    def relative(self, path: Path) -> str:
        """``path`` as people read it: from the home when it lies there, else as it is."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def require(self, path: Path) -> Path:
        """``path`` itself if it exists, else ``MissingInput`` naming the file and what makes it."""
        if not path.exists():
            folder = path.relative_to(self.root).parts[0]
            raise MissingInput(f"{self.relative(path)} not found under {self.root}; run {MAKERS[folder]}")
        return path
