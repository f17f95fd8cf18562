"""Rewrite Alpaca answers towards a positive emotion: `emogap rewrite` as a script.

Takes the same options (`python alpaca-instruction/emotion-alpaca.py --help`). In an editor that runs cells (VS Code,
Spyder, PyCharm) the cells below show it step by step.
"""

# %% The command line: everything is done here
import sys

if __name__ == "__main__" and not hasattr(sys, "ps1"):  # ps1 is set in interactive sessions: for an editor's cells
    from emogap.commands.cli import main

    sys.exit(main(["rewrite", *sys.argv[1:]]))
if __name__ != "__main__":
    raise ImportError("emotion-alpaca.py is a script; run it, or its cells")

# %% Parameters
PROFILE = "embedded"
HOME = None  # None: $EMOGAP_HOME, else runs/<profile>/
ON = None  # another home, such as "runs/embedded", that this one is a variant of
SETTINGS = {}  # such as {"rewrite.versions": ["v1", "v3"]} or {"rewrite.sampling.temperature": 0.9}

# %% Settings; in bold what differs from the published set-up
import pandas as pd

from emogap.config import load_config
from emogap.records import KEPT
from emogap.stories.outcomes import emotion_said, for_reading, outcome_shares, rewrite_outcomes
from emogap.stories.rewrite import Rewrites, read_rewrites, rewrite
from emogap.study.notebook import after, before, settings, texts
from emogap.trial.preview import prompts

config = load_config(PROFILE, HOME, SETTINGS, keep=True, on=ON)
settings(config, "writer", "rewrite")

# %% What it will cost here
before(config, "rewrite")

# %% The prompts, whole; to change one, see prompt_studio.ipynb beside this file
texts(prompts(config, "rewrite"))

# %% Five records before, each with the emotion that is sampled for it
first = Rewrites(config).first(5)
texts(pd.DataFrame([{"emotion": one.emotion, **vars(one.record)} for one in first]))

# %% Rewrite; what is fresh is not done again
print(rewrite(config))

# %% The same records after: the answer that is kept beside the raw reply
rows = read_rewrites(config)
texts(for_reading(rows[rows["record_id"].isin([one.id for one in first])]))

# %% Rejected ones, and why
rejected = rows[rows["status"] != KEPT]
texts(for_reading(rejected.groupby("reason").head(2)))

# %% Whether the kept rewrites have the emotion that they were asked for
print(emotion_said(rows, "rewrites"))

# %% The outcome: the grey part can be trained on, each colour is a reason why the rest cannot
table = rewrite_outcomes(config.home)
figure = outcome_shares(table, "version", "rewrites")
texts(table[table["rows"] > 0])

# %% What is stale now, and what comes next
after(config, "rewrite")

# %% [markdown]
# **Try next**: `SETTINGS = {"rewrite.versions": ["v1", "v3"]}` rewrites the same records by another prompt too;
# `{"rewrite.gates.min_similarity": 0.6}` keeps only what means nearly the same, and generates nothing anew.
