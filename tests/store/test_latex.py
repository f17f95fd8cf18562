"""Tables for LaTeX: to the letter, in parts where they are wide, over pages where they are long."""

import re

import pandas as pd

from emogap.store.latex import LINE, PAGE_ROWS, latex, latex_number, to_latex

HOSTILE = "50 % of_it & #1 costs {2}$ ~ ^ \\input{x} <b> a|b"


def test_nothing_in_a_text_is_a_command():
    shown = latex(HOSTILE)
    assert shown == (
        r"50 \% of\_it \& \#1 costs \{2\}\$ \textasciitilde{} \textasciicircum{} \textbackslash{}input\{x\} "
        r"\textless{}b\textgreater{} a\textbar{}b"
    )
    assert latex("one\n\n two\t three") == "one two three"
    assert latex("[Music]") == "{[}Music]" and latex("*") == "{*}", "else they belong to the line break before them"


def test_numbers_have_a_minus_and_powers():
    assert latex_number("-28.6 [-50, -7.1]") == "$-$28.6 [$-$50, $-$7.1]"
    assert latex_number("2.4e-05") == r"2.4$\times10^{-5}$" and latex_number("1,234") == "1,234"


def test_a_table_is_set_with_booktabs_and_its_caption_is_text():
    table = pd.DataFrame({"model_name": ["a_b", "c"], "share": [-1.5, 2.0], "low": [-2.0, 1.0], "high": [0.5, 3.0]})
    assert to_latex(table, None, "Shares, 95 % intervals.", "tab:x").splitlines() == [
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        r"\caption{Shares, 95 \% intervals.}\label{tab:x}\smallskip",
        "",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model name & share \\",
        r"\midrule",
        r"a\_b & $-$1.5 [$-$2.0, 0.5] \\",
        r"c & 2.0 [1.0, 3.0] \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_a_wide_table_goes_on_below_and_repeats_what_names_its_rows():
    wide = pd.DataFrame({"model": ["smollm2-135m"]} | {f"measure {i:02d}": [12345.5] for i in range(20)})
    text = to_latex(wide, None, "Wide.")
    heads = re.findall(r"^model.*", text, flags=re.M)
    assert text.startswith(r"\begin{table*}") and len(heads) == 3
    assert all(len(head) <= LINE for head in heads)
    assert re.findall(r"measure \d\d", text) == [name for name in wide if name != "model"]


def test_a_long_table_runs_over_pages_and_a_long_text_over_lines():
    long = pd.DataFrame({"line": ["word " * 30] * (PAGE_ROWS + 1), "n": range(PAGE_ROWS + 1)})
    text = to_latex(long, None, "Long.")
    assert r"\begin{longtable}{p{0.9" in text and text.count(r"\caption{Long.}\\") == 1 and r"\endhead" in text
    assert r"\begin{table" not in text, "what floats stays on one page"
    assert to_latex(long.head(2), None).startswith(r"\begin{tabular}"), "without a caption it does not float"
