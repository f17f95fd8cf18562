"""The workflow as a drawing: boxes and arrows, laid out for a page's width; the page's template draws them."""

import textwrap
from dataclasses import dataclass

from emogap.study.state import StageState

WIDTH, BOX_WIDTH, BOX_HEIGHT = 940, 210, 74
LINE = 26
"""Characters that fit a box."""
_ROW, _COLUMN = 104, 240
_CELLS = {
    "process": (1, 0), "augment": (1, 1), "corpus": (1, 2), "babylm-stats": (0, 2), "rewrite": (2, 2), "clm": (1, 3),
    "sft": (2, 4), "alpaca-stats": (3, 3), "evaluate": (1, 5), "lens": (0, 5),
}  # fmt: skip
"""Stage → (column, row)."""
HEIGHT = _ROW * (1 + max(row for _, row in _CELLS.values()))


@dataclass(frozen=True)
class Box:
    """A stage in the drawing; ``x`` and ``y`` are its upper left corner."""

    name: str
    state: str
    x: int
    y: int
    lines: list[str]
    """What the stage does, in lines that fit the box."""


@dataclass(frozen=True)
class Arrow:
    """From the lower edge of one box to the upper edge of another."""

    x1: int
    y1: int
    x2: int
    y2: int


def workflow(states: list[StageState]) -> tuple[list[Box], list[Arrow]]:
    """Boxes and arrows for the stages, in a drawing of ``WIDTH`` by ``HEIGHT``."""
    boxes = {state.stage.name: _box(state) for state in states}
    arrows = [
        Arrow(
            boxes[before].x + BOX_WIDTH // 2,
            boxes[before].y + BOX_HEIGHT,
            boxes[state.stage.name].x + BOX_WIDTH // 2,
            boxes[state.stage.name].y,
        )
        for state in states
        for before in state.stage.after
    ]
    return list(boxes.values()), arrows


def _box(state: StageState) -> Box:
    column, row = _CELLS[state.stage.name]
    x, y = column * _COLUMN, row * _ROW + 2
    return Box(state.stage.name, state.state, x, y, textwrap.wrap(state.stage.title, LINE))
