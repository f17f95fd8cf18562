"""Tables and texts for LaTeX: escaped, with booktabs; too wide tables are split into parts, long ones over pages."""

import re

import pandas as pd

from emogap.store.views import View, are_numbers, balanced, cells

PREAMBLE = r"\usepackage{booktabs,longtable,graphicx}"
"""The packages that a document with these tables and with figures needs."""
LINE, COLUMN = 124, 56
"""Characters of a table that fit side by side: across a page of two columns (6.9 in), and in one of them."""
WRAPPED = 36
"""A longer text is broken into lines."""
PAGE_ROWS = 45
_SMALL = r"\footnotesize\setlength{\tabcolsep}{4pt}"
_COMMANDS = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
     ">": r"\textgreater{}", "|": r"\textbar{}", "−": "$-$", "→": r"$\rightarrow$", "≤": r"$\leq$",
     "≥": r"$\geq$", "±": r"$\pm$", "×": r"$\times$"}
    | {sign: f"\\{sign}" for sign in "&%$#_{}"}
)  # fmt: skip


def latex(text: str) -> str:
    """A text escaped for LaTeX: nothing in it is a command; runs of white space become one space."""
    text = " ".join(text.split()).translate(_COMMANDS)
    return f"{{{text[0]}}}{text[1:]}" if text[:1] in ("[", "*") else text  # else it is an argument of the \\ before


def latex_number(text: str) -> str:
    """A number as people read it, with its interval or without, in LaTeX."""
    return re.sub(
        r"e([+-])0*(\d+)|-(?=\d|inf)",
        lambda found: rf"$\times10^{{{found[1].strip('+')}{found[2]}}}$" if found[1] else "$-$",
        text.replace("%", r"\%"),
    )


def to_latex(table: pd.DataFrame, view: View | None, caption: str | None = None, label: str = "") -> str:
    """A table for readers: numbers flush right, long texts wrapped, columns that do not fit side by side in a further
    part below. It floats (across both columns of the page if it is wide). A table longer than a page is a
    ``longtable``, which may break; one without a caption does not float."""
    shown = cells(table, view)
    parts = _parts(shown)
    if caption is None:
        return "\n".join(_tabular(shown[names]) for names in parts)
    title = rf"\caption{{{latex(caption)}}}" + (rf"\label{{{label}}}" if label else "")
    if sum(_height(shown[names]) for names in parts) > PAGE_ROWS:
        first, *more = parts
        long = [_tabular(shown[first], f"{title}\\\\\n"), *(_tabular(shown[names], "\\\\\n") for names in more)]
        return "\n".join([f"{{{_SMALL}\\setlength{{\\LTcapwidth}}{{\\linewidth}}", *long, "}\n"])
    kind = "table*" if any(sum(_widths(shown[names]).values()) > COLUMN for names in parts) else "table"
    below = "\n\\medskip\n\n".join(_tabular(shown[names]) for names in parts)
    return f"\\begin{{{kind}}}\n\\centering{_SMALL}\n{title}\\smallskip\n\n{below}\\end{{{kind}}}\n"


def _widths(shown: pd.DataFrame) -> dict[str, int]:
    return {name: min(max(map(len, [str(name), *shown[name]])), WRAPPED) + 2 for name in shown}


def _height(shown: pd.DataFrame) -> int:
    """Lines of all rows, long texts wrapped."""
    return sum(max(-(-len(cell) // WRAPPED) for cell in row) for row in shown.itertuples(index=False))


def _parts(shown: pd.DataFrame) -> list[list[str]]:
    """The columns in parts that each fit on the page, of about equal width. Leading columns of short texts, which name
    the rows, are repeated in each part, as far as they leave room for others."""
    widths, keys = _widths(shown), []
    for name in shown:
        names_rows = widths[name] <= WRAPPED and not are_numbers(shown[name])
        if keys and not (names_rows and sum(map(widths.get, [*keys, name])) <= LINE - WRAPPED / 2):
            break
        keys.append(name)
    others = list(widths)[len(keys) :]
    room = LINE - sum(widths[name] for name in keys)
    groups = balanced([widths[name] for name in others], room) or [[]]
    return [[*keys, *(others[place] for place in group)] for group in groups]


def _tabular(shown: pd.DataFrame, title: str | None = None) -> str:
    """A ``tabular``, or, with a ``title`` for its head, a ``longtable``."""
    widths, numbers = _widths(shown), {name: len(shown) > 0 and are_numbers(shown[name]) for name in shown}
    wrapped = [name for name in shown if widths[name] == WRAPPED + 2]
    room = 1 - sum(width for name, width in widths.items() if name not in wrapped) / LINE
    lines = f"p{{{room / max(len(wrapped), 1) - 0.03:.2f}\\linewidth}}"
    form = "".join("r" if numbers[name] else lines if name in wrapped else "l" for name in shown)
    head = " & ".join(latex(str(name).replace("_", " ")) for name in shown)
    columns = [map(latex_number if numbers[name] else latex, shown[name]) for name in shown]
    body = "".join(f"{' & '.join(row)} \\\\\n" for row in zip(*columns, strict=True))
    kind, repeated = ("tabular", "") if title is None else ("longtable", "\\endhead\n")
    return (
        f"\\begin{{{kind}}}{{{form}}}\n{title or ''}\\toprule\n{head} \\\\\n\\midrule\n{repeated}{body}\\bottomrule\n"
        f"\\end{{{kind}}}\n"
    )
