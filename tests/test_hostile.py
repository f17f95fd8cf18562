"""Nothing executes data: what the code of the package may not do, read from the code itself."""

import ast

import pytest

from emogap.paths import ROOT

FILES = sorted((ROOT / "emogap").rglob("*.py"))
GUARDED = "emogap/generate/import_pickles.py"
"""The one module that reads pickles, through an unpickler that admits plain values alone."""
LOADERS = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def forbidden(tree: ast.AST, guarded: bool) -> list[str]:
    """What would let data run code: modules that unpickle, ``eval`` and ``exec``, remote code, pickled arrays."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and not guarded:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in LOADERS]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("eval", "exec", "torch.load", "pd.read_pickle", "pickle.load", "pickle.loads"):
                found.append(name)
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            found += [key for key in ("trust_remote_code", "allow_pickle") if options.get(key, "False") != "False"]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_the_package_runs_data(file):
    guarded = str(file.relative_to(ROOT)) == GUARDED
    assert forbidden(ast.parse(file.read_text(encoding="utf-8")), guarded) == []


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "eval(text)", "torch.load(path)", "np.load(f, allow_pickle=True)",
     "AutoModel.from_pretrained(name, trust_remote_code=True)"],
)  # fmt: skip
def test_the_reading_of_code_finds_what_it_looks_for(code):
    assert forbidden(ast.parse(code), guarded=False)
