"""Tables and figures about the trainings, made from the records in the model folders."""

import pandas as pd

from emogap.config import Config, Task
from emogap.exhibits import Exhibit, save_figure, save_table
from emogap.train.model_folder import TASKS, read_record
from emogap.train.strategies import runs


def history_table(record: dict) -> pd.DataFrame:
    """One row a step: ``model, step, epoch, loss, learning_rate, grad_norm, validation_loss,
    validation_perplexity``; step 0 is the parent. What was not measured at a step is missing."""
    import numpy as np

    steps = pd.DataFrame([entry for entry in record["history"] if "loss" in entry])
    evaluations = pd.DataFrame([entry for entry in record["history"] if "eval_loss" in entry])
    evaluations = pd.concat(
        [pd.DataFrame([{"step": 0, "eval_loss": np.log(record["perplexity_before"])}]), evaluations]
    )
    table = pd.merge(
        steps[["step", "epoch", "loss", "learning_rate", "grad_norm"]],
        evaluations[["step", "eval_loss"]].rename(columns={"eval_loss": "validation_loss"}),
        on="step",
        how="outer",
    ).sort_values("step")
    table["validation_perplexity"] = np.exp(table["validation_loss"])
    table.insert(0, "model", record["model"])
    return table


def summary_table(records: list[dict]) -> pd.DataFrame:
    """One row a model: what it started from, how long it was trained, and validation perplexity before and after."""
    return pd.DataFrame(
        [
            {
                "model": record["model"],
                "parent": record["parent"]["name"],
                "data": record["data"]["name"],
                "rows": record["data"]["train_rows"],
                "steps": record["steps"],
                "best step": record["best_step"],
                "perplexity before": round(record["perplexity_before"], 2),
                "perplexity after": round(record["perplexity_after"], 2),
                "seconds": round(record["seconds"]),
                "tokens/s": round(record["tokens_per_second"]),
            }
            for record in records
        ]
    )


def save_exhibits(config: Config, task: Task) -> None:
    """Curves and a table of all finished models of that kind, registered in the models' folder."""
    from emogap.show.style import use_style
    from emogap.show.training_figures import curves

    records = [read_record(config.home.model(run.name)) for run in runs(config, task)]
    folder = config.home.root / "models"
    order = 50 if task == "clm" else 55
    kind = TASKS[task]
    histories = pd.concat([history_table(record) for record in records])
    before_after = ", ".join(
        f"{r['model']} {r['perplexity_before']:.1f} → {r['perplexity_after']:.1f}" for r in records
    )
    caption = f"Validation perplexity before and after {kind}: {before_after}."
    save_table(folder, Exhibit(f"training_{task}", "table", caption, order), summary_table(records))
    history = f"Every step of {kind}: loss, learning rate, gradient norm and, where it was measured, validation loss."
    save_table(folder, Exhibit(f"history_{task}", "table", history, order + 2), histories)
    use_style()
    alt = "Four panels over steps: training and validation loss, validation perplexity, learning rate, gradient norm."
    figure = curves(histories, list(config.bases))
    save_figure(
        folder, Exhibit(f"curves_{task}", "figure", f"{caption[:-1]}; curves over steps.", order + 1, alt=alt), figure
    )
