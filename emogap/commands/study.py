"""Commands about the whole study: run, status, doctor."""

from emogap.commands import Commands


def register(commands: Commands) -> None:
    pass
