"""What every notebook of the study shows around its own work: the settings, what the work will cost, what comes next.

``settings`` and ``before`` are called before a stage, ``after`` after it; ``texts`` shows a table whose cells are to be
read, ``whole`` a single text, ``cells`` turns numbers into texts.
"""

from typing import TYPE_CHECKING

import pandas as pd

from emogap.config import Config
from emogap.device import pick_device, pick_dtype
from emogap.store.artefacts import home_manifests
from emogap.store.progress import clock
from emogap.store.views import cells, texts, whole  # noqa: F401 (for notebooks)
from emogap.study.state import made_otherwise, take_over_before, whats_next

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

_SECTIONS = {"process": "process", "augment": "writer", "rewrite": "writer", "clm": "clm", "sft": "sft",
             "evaluate": "respond"}  # fmt: skip
"""Stage → the section whose device and number format it computes with."""
_WORKS = {"evaluate": ("answers", "pairs"), "process": ("classify",), "augment": ("stories",), "rewrite": ("rewrites",)}
"""Stage → its kinds of work, as ``plan`` calls them; that of a training has the name of its stage."""


def settings(config: Config, *sections: str) -> "Styler":
    """``Config.show`` for reading: what differs from the published set-up is bold."""
    return beside_published(config.show(*sections))


def beside_published(table: pd.DataFrame) -> "Styler":
    """A table with ``value`` and ``published`` for reading: rows in which they differ are bold up to ``published``."""
    differs = table["published"].ne("") & table["published"].ne(table["value"])
    bold = pd.DataFrame("", index=table.index, columns=table.columns)
    bold.loc[differs, :"published"] = "font-weight: bold"
    return texts(table).apply(lambda _: bold, axis=None)


def before(config: Config, stage: str) -> None:
    """Print whether what a stage reads was made under other settings, what it computes on, how much work it has, and
    how long that will take, judged by what was done in this home."""
    from emogap.study.plan import KINDS, price, works

    take_over_before(config, stage)
    for line in made_otherwise(config, stage):
        print(line)
    if stage in _SECTIONS:
        print(_computes_on(config, _SECTIONS[stage]))
    manifests = home_manifests(config.home)
    own = [work for work in works(config) if work.kind in _WORKS.get(stage, (stage,))]
    if not own:
        took = sum(manifest["seconds"] for manifest in manifests.values() if manifest["stage"] == stage)
        print(f"{stage}: took {clock(took)} here when it was made" if took else f"{stage}: not measured here")
    for work in own:
        seen = price(config, work, manifests) if work.count else None
        known = seen is not None and not seen.problems
        took = work.count / seen.items * seen.seconds if known else 0
        cost = f"about {clock(took)} ({seen.rate})" if known else "not measured here"
        amount = f"{work.count:,} {KINDS[work.kind][2]}" if work.count else "how much is not known yet"
        print(f"{work.kind} {work.name}".rstrip() + f": {amount}, {cost}")


def after(config: Config, stage: str) -> None:
    """Print which stages after this one are stale now, and what comes next."""
    print(*whats_next(config, stage), sep="\n")


def _computes_on(config: Config, section: str) -> str:
    chosen = getattr(config, section)
    if section == "writer" and chosen.engine != "transformers":
        return f"the writer is run by {chosen.engine}"
    device = pick_device(chosen.device)
    dtype = pick_dtype(device, getattr(chosen, "dtype", None) or chosen.precision)
    return f"on {device}, in {str(dtype).removeprefix('torch.')}"
