"""Commands about text and its emotions: process, classify, train-classifier, fetch."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "process")
