"""The command that shows it all: report."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "report")
