"""``python -m emogap``, which launchers of several processes start."""

import sys

from emogap.commands.cli import main

if __name__ == "__main__":
    sys.exit(main())
