"""Commands about the texts themselves: corpus, babylm-stats, alpaca-stats."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "corpus")
    add_stage(commands, "babylm-stats")
    add_stage(commands, "alpaca-stats")
