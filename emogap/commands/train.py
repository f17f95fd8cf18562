"""Commands that train, and the one that hands a trained model on: clm, sft, push."""

import argparse

from emogap.commands import Commands, add_run_options, add_stage, config_from


def register(commands: Commands) -> None:
    add_stage(commands, "clm", {"--processes": "clm.processes"})
    add_stage(commands, "sft", {"--processes": "sft.processes"})
    parser = commands.add_parser(
        "push",
        help="hand a trained model with its card to a model hub (a dry run unless --upload is given)",
        description="Hand a trained model with its card to a model hub. The token is read from $HF_TOKEN.",
    )
    add_run_options(parser)
    parser.add_argument("model", metavar="MODEL", help="a trained model's name, such as smollm2-135m-baby")
    parser.add_argument("--to", dest="repo", required=True, metavar="OWNER/NAME", help="the repository")
    parser.add_argument("--upload", action="store_true", help="do it; without this only say what would be sent")
    parser.add_argument("--public", action="store_true", help="a new repository is for all to see (else private)")
    parser.set_defaults(run=_push)


def _push(arguments: argparse.Namespace) -> None:
    from emogap.train.push import push

    print(push(config_from(arguments), arguments.model, arguments.repo, arguments.upload, arguments.public))
