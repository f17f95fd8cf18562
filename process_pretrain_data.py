"""Clean BabyLM text, score its lines with 28 emotions and pick the emotional ones: `emogap process` as a script.

Takes the same options (`python process_pretrain_data.py --help`).
"""

import sys

from emogap.commands.cli import main

if __name__ == "__main__":
    sys.exit(main(["process", *sys.argv[1:]]))
