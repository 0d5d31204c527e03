"""Export an encoder: from a run, an export or PyTorch, in any format.

python -m mec_tf.export --workdir=runs/digits --format=onnx
python -m mec_tf.export --from_torch=resnet50.pth --backbone=resnet50
"""

from mec_tf import callable_module
from mec_tf.command_line import command
from mec_tf.config import ExportConfig
from mec_tf.config.flags import Parsed

CONFIG = ExportConfig
callable_module.make(__name__, "mec_tf.exporting.run", "export")


def main(parsed: Parsed) -> None:
    """Exports what the command line names."""
    from mec_tf.exporting.run import export
    from mec_tf.formats.detectron2 import CONFIG_FILE

    folder = export(parsed.config)
    if parsed.config.format == "detectron2":
        print((folder / CONFIG_FILE).read_text(), end="")
    print(f"{parsed.config.format}: {folder}")


if __name__ == "__main__":
    command.run(main, CONFIG)
