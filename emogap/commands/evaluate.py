"""Commands that measure: evaluate, and its parts one by one."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "evaluate")
