"""mec-tf: image encoders from unlabelled images.

mec-tf train --preset=digits
mec-tf evaluate --protocol=knn --dataset=digits --encoder=exports/digits

Each command is a module of this package, too: python -m mec_tf.train. What it
takes: mec-tf train --help.
"""

import runpy
import sys

from mec_tf.command_line import interrupt
from mec_tf.version import __version__

COMMANDS = {
    "train": "pretrain an encoder without labels, then export it",
    "evaluate": "score encoders by a protocol",
    "export": "hand an encoder on: SavedModel, Keras, ONNX, PyTorch",
    "report": "pictures of runs",
}


def main() -> None:
    """Runs the command that the first argument names."""
    interrupt.end_at_once()
    _, *arguments = sys.argv
    command = arguments[0] if arguments else "--help"
    if command in ("--help", "-h", "help"):
        print(_usage())
    elif command == "--version":
        print(f"mec_tf {__version__}")
    elif command in COMMANDS:
        sys.argv = [f"mec-tf {command}", *arguments[1:]]
        runpy.run_module(f"mec_tf.{command}", run_name="__main__")
    else:
        print(
            f"mec_tf: {command!r} is no command; give one of"
            f" {', '.join(COMMANDS)}, such as: mec-tf train --preset=digits",
            file=sys.stderr,
        )
        sys.exit(2)


def _usage() -> str:
    lines = [f"  {name:<10}{what}" for name, what in COMMANDS.items()]
    return "\n".join([(__doc__ or "").strip(), "", "Commands:", *lines])


if __name__ == "__main__":
    main()
