"""The command that looks inside: lens."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "lens")
