"""The review of rows as a widget for notebooks."""

from pathlib import Path

from emogap.generate.review import add_verdict, described, undecided


def review_widget(table: Path, rejected: bool = False):
    """An ipywidgets box that shows one row after another of ``table``, with buttons to accept, reject or skip it.

    Verdicts go where ``emogap review`` writes them too.
    """
    import ipywidgets

    rows = undecided(table, rejected)
    shown = ipywidgets.Textarea(disabled=True, layout=ipywidgets.Layout(width="100%", height="16em"))
    reason = ipywidgets.Text(placeholder="why, if it is rejected", layout=ipywidgets.Layout(width="24em"))
    buttons = {name: ipywidgets.Button(description=name) for name in ("accept", "reject", "skip")}
    current: dict = {}

    def show_next() -> None:
        current.clear()
        current.update(next(rows, {}))
        shown.value = f"{current['id']}  {current['emotion']}\n{described(current)}" if current else "Nothing left."
        reason.value = ""
        for button in buttons.values():
            button.disabled = not current

    def decide(button) -> None:
        if button.description != "skip":
            add_verdict(table, current, button.description, reason.value)
        show_next()

    for button in buttons.values():
        button.on_click(decide)
    show_next()
    return ipywidgets.VBox([shown, ipywidgets.HBox([*buttons.values(), reason])])
