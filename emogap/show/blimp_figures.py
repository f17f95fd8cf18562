"""Figures of grammar."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from emogap.show.style import model_colours, use_style


def differences_figure(differences: pd.DataFrame, bases: list[str]) -> Figure:
    """Points with intervals: each model's difference to its base, by phenomenon.

    ``differences``: model, phenomenon, pairs, difference, low, high (percentage points).
    """
    use_style()
    phenomena = sorted(differences["phenomenon"].unique(), reverse=True)
    models = list(dict.fromkeys(differences["model"]))
    colours = model_colours(models, bases)
    markers = dict(zip(models, "osD^vPX*" * len(models), strict=False))
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(phenomena) + 1.4))
    offsets = np.linspace(0.25, -0.25, len(models)) if len(models) > 1 else [0.0]
    for model, offset in zip(models, offsets, strict=True):
        rows = differences[differences["model"] == model].set_index("phenomenon").loc[phenomena]
        errors = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        axes.errorbar(
            rows["difference"], np.arange(len(phenomena)) + offset, xerr=errors, fmt=markers[model], markersize=4.5,
            color=colours[model], capsize=2, linewidth=1, label=model,
        )  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    counts = differences.groupby("phenomenon")["pairs"].first()
    labels = [f"{name.replace('_', ' ')} (n={counts[name]})" for name in phenomena]
    axes.set_yticks(range(len(phenomena)), labels)
    axes.set_xlabel("accuracy minus the base model's (percentage points)")
    axes.set_title("Grammar after fine-tuning, against the base")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=2, frameon=False, fontsize="small")
    return figure
