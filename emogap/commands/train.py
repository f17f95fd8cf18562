"""Commands that train: clm, sft."""

from emogap.commands import Commands, add_stage


def register(commands: Commands) -> None:
    add_stage(commands, "clm", {"--processes": "clm.processes"})
    add_stage(commands, "sft", {"--processes": "sft.processes"})
