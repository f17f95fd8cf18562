"""Rewrite Alpaca answers towards a positive emotion: `emogap rewrite` as a script.

Takes the same options (`python alpaca-instruction/emotion-alpaca.py --help`).
"""

import sys

from emogap.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["rewrite", *sys.argv[1:]]))
