"""The house: rooms as docs/reading-the-code.md lists them, bottom up; imports go down that list and in no circle."""

import ast
import re
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest
from documents import ROOT

PACKAGE = ROOT / "emogap"
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(PACKAGE.rglob("*.py"))
}
GROUND = "emogap"
DOZEN = 12


@cache
def rooms() -> list[str]:
    """The packages of the list, bottom up; the first is the ground floor, the package itself."""
    text = (ROOT / "docs" / "reading-the-code.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[\w/]+/`(?:, )?)+) \|", text, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w/]+)/`", row)]
    return [GROUND, *(f"{GROUND}.{name.replace('/', '.')}" for name in named if name != GROUND)]


def room_of(module: str) -> str:
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


@cache
def imported(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(GROUND):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in MODULES}
    return frozenset(found - {GROUND, module})


def test_every_room_is_on_the_list():
    assert {room_of(module) for module in MODULES} == set(rooms())


@pytest.mark.parametrize("module", [name for name in MODULES if name != f"{GROUND}.__main__"])
def test_nothing_is_imported_from_above(module):
    floors = {room: floor for floor, room in enumerate(rooms())}
    own = floors[room_of(module)]
    assert [name for name in sorted(imported(module)) if floors[room_of(name)] > own] == []


def test_no_modules_import_each_other_in_a_circle():
    try:
        TopologicalSorter({module: imported(module) for module in MODULES}).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def test_no_room_is_crowded():
    crowd = Counter(room_of(module) for module in MODULES if MODULES[module].name != "__init__.py")
    assert {room: count for room, count in crowd.items() if count > DOZEN} == {}
