"""Commands that let a model write: augment, rewrite, and the tools for prompts."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "augment", {"--chunks": "augment.chunks"})
    add_stage(commands, "rewrite")
