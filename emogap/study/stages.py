"""The stages of the study, in order, as data: what runs them, what they read and write, and which function does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module

from emogap.config import Config
from emogap.errors import UsageError
from emogap.store.pieces import Piece, Summary


@dataclass(frozen=True)
class Stage:
    """One stage."""

    name: str
    source: str | None
    """The notebook or script that runs it, from the repository's root; None: the command line alone."""
    module: str
    function: str
    """``<function>_pieces(config)`` gives the pieces that the stage makes, without heavy imports; each is taken only
    when those before it are made. It raises ``MissingInput`` while what the stage depends on is not there.
    ``function(config) -> Summary`` makes the pieces."""
    folder: str
    """Its folder under the home, whose exhibits the report shows."""
    title: str
    reads: str
    writes: str
    after: tuple[str, ...] = ()
    """The stages whose artefacts it reads."""

    def run(self, config: Config) -> Summary:
        return self._load(self.function)(config)

    def pieces(self, config: Config) -> Iterable[Piece]:
        return self._load(f"{self.function}_pieces")(config)

    def _load(self, name: str) -> Callable:
        return getattr(import_module(self.module), name)


STAGES: tuple[Stage, ...] = (
    Stage("process", "process_pretrain_data.py", "emogap.babylm.process", "process", "processed_data",
          "Clean the text and find its emotional lines", "BabyLM `*.train` files",
          "`processed_data/babylm.parquet`, `babylm_filtered.parquet`"),
    Stage("augment", "pretrain_data_augment.ipynb", "emogap.stories.augment", "augment", "babylm_augment",
          "Write stories from the emotional lines", "`babylm_filtered.parquet`",
          "`babylm_augment/<method>/chunk_*.parquet`", after=("process",)),
    Stage("corpus", "pretrain_data_corpus.ipynb", "emogap.corpus.compile", "corpus", "babylm_pretrain_corpus",
          "Compile stories and factual text to a corpus", "chunks, wiki files",
          "`babylm_pretrain_corpus/<name>.parquet`, `.txt`, `.json`", after=("augment",)),
    Stage("rewrite", "alpaca-instruction/emotion-alpaca.py", "emogap.stories.rewrite", "rewrite", "alpaca-instruction",
          "Rewrite Alpaca answers towards an emotion", "Alpaca records",
          "`alpaca-instruction/emotion_alpaca_<version>.json`, `.rows.parquet`"),
    Stage("clm", "casual_lm.ipynb", "emogap.train.causal_lm", "clm", "models",
          "Fine-tune on the corpus (causal LM)", "corpus", "`models/<base>-baby/`", after=("corpus",)),
    Stage("sft", "fine-tune/sft_instruction.ipynb", "emogap.train.sft", "sft", "models",
          "Fine-tune on the rewritten answers (SFT)", "rewrites, a base or `-baby` model",
          "`models/<base>-instr/`, `models/<base>-baby-instr/`", after=("rewrite", "clm")),
    Stage("evaluate", "quantitative_analysis/quantitative_analysis.ipynb", "emogap.study.evaluate", "evaluate",
          "quantitative_analysis", "Measure emotion and grammar", "models, prompts, minimal pairs",
          "`quantitative_analysis/responses/`, `emotions.parquet`, `scores.parquet`, tables, figures",
          after=("clm", "sft")),
    Stage("lens", "model_analysis.ipynb", "emogap.lens.stage", "lens", "model_analysis",
          "Look inside the models (logit lens)", "models, sentences, openings",
          "`model_analysis/<model>.parquet`, `.openings.parquet`, tables, figures", after=("clm", "sft")),
    Stage("babylm-stats", "prompt_analysis_babylm.ipynb", "emogap.textstats.stage", "story_stats",
          "prompt_analysis_babylm", "Statistics of the stories", "chunks", "`prompt_analysis_babylm/`",
          after=("augment",)),
    Stage("alpaca-stats", "prompt_analysis.ipynb", "emogap.textstats.stage", "rewrite_stats", "prompt_analysis",
          "Statistics of the rewrites", "rewrites", "`prompt_analysis/`", after=("rewrite",)),
    Stage("report", None, "emogap.report.page", "report", "report", "Everything on one page", "all of the above",
          "`report/index.html`", after=("evaluate", "lens", "babylm-stats", "alpaca-stats")),
)  # fmt: skip


def stage(name: str) -> Stage:
    """The stage of that name. Raises ``UsageError`` if there is none."""
    for candidate in STAGES:
        if candidate.name == name:
            return candidate
    raise UsageError(f"unknown stage '{name}'; choose among {', '.join(s.name for s in STAGES)}")
