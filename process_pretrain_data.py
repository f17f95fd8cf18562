"""Clean BabyLM text, score its lines with 28 emotions and pick the emotional ones: `emogap process` as a script.

Takes the same options (`python process_pretrain_data.py --help`). In an editor that runs cells (VS Code, Spyder,
PyCharm) the cells below show it step by step.
"""

# %% The command line: everything is done here
import sys

if __name__ == "__main__" and not hasattr(sys, "ps1"):  # ps1 is set in interactive sessions: for an editor's cells
    from emogap.commands.cli import main

    sys.exit(main(["process", *sys.argv[1:]]))
if __name__ != "__main__":
    raise ImportError("process_pretrain_data.py is a script; run it, or its cells")

# %% Parameters
PROFILE = "embedded"
HOME = None  # None: $EMOGAP_HOME, else runs/<profile>/
ON = None  # another home, such as "runs/embedded", that this one is a variant of
SETTINGS = {}  # such as {"process.threshold": 0.3} or {"process.raw_dirs": ["data/babylm_10M"]}

# %% Settings; in bold what differs from the published set-up
from emogap.babylm.process import before_and_after, cleaning_table, emotion_shares, emotions_by_source, process
from emogap.config import load_config
from emogap.study.notebook import after, before, settings, texts

config = load_config(PROFILE, HOME, SETTINGS, keep=True, on=ON)
settings(config, "process")

# %% What it will cost here
before(config, "process")

# %% Five lines before: as they stand in their files
texts(before_and_after(config)[["id", "raw"]])

# %% Clean, classify, pick; what is fresh is not done again
print(process(config))

# %% The same five lines after; where `cleaned` is empty, a rule has left the line out
texts(before_and_after(config))

# %% What became of the lines of each source, and why
texts(cleaning_table(config).T.reset_index())

# %% Which emotions were found: shares of each source's lines, in per cent; draw fewer sources, or change the axes
table = emotions_by_source(config.home.processed, config.home.filtered)
figure = emotion_shares(table)
texts(table)

# %% What is stale now, and what comes next
after(config, "process")

# %% [markdown]
# **Try next**: `SETTINGS = {"process.threshold": 0.3}` finds more emotional lines and classifies nothing anew;
# `{"process.threshold": "tuned"}` takes the classifier's own threshold of each emotion; `{"process.balance": True}`
# samples the emotional lines evenly over the emotions.
