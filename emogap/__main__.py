"""Entry point of ``python -m emogap``, as launchers of several processes (``accelerate``, ``torchrun``) start it."""

import sys

from emogap.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
