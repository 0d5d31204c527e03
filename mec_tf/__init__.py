"""Self-supervised image encoders by Maximum Entropy Coding, in Keras.

Importing this package switches oneDNN's kernels on, which TensorFlow leaves off
on CPUs without AVX-512 and which make a training step about 1.3 times as fast.
TensorFlow reads the variable once, so it is left alone when TensorFlow is
already loaded; an explicit `TF_ENABLE_ONEDNN_OPTS=0` is respected.

What the package offers is imported when it is first asked for, so that a main
can answer a wrong command line before TensorFlow is loaded.
"""

import os
import sys

# `python -m mec_tf.train`: a main begins, and this is its first moment.
if sys.argv[:1] == ["-m"]:
    try:
        from mec_tf.command_line import interrupt

        interrupt.end_at_once()
    except KeyboardInterrupt:
        os.write(2, b"mec_tf: Ctrl-C: stopped before anything was done\n")
        os._exit(130)

import importlib

from mec_tf.version import __version__ as __version__

_CONFIGS = ("PretrainConfig", "EvaluateConfig", "ExportConfig", "ReportConfig")
_ERRORS = ("UserError",)
_PRETRAINING = ("pretrain", "Run")
# The commands are modules that can be called, as functions of their configs.
_ROOMS = ("objectives", "models", "optimizers", "formats")
_COMMANDS = ("evaluate", "export", "report")


def __getattr__(name):
    """Imports what is asked for: a config, a function or a room."""
    if name in _CONFIGS:
        return getattr(importlib.import_module("mec_tf.config"), name)
    if name in _ERRORS:
        return getattr(importlib.import_module("mec_tf.errors"), name)
    if name in _PRETRAINING:
        return getattr(importlib.import_module("mec_tf.pretraining.run"), name)
    if name in _ROOMS + _COMMANDS:
        return importlib.import_module(f"mec_tf.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    """Also names what is not imported yet."""
    return sorted(
        {*globals(), *_CONFIGS, *_ERRORS, *_PRETRAINING, *_ROOMS, *_COMMANDS}
    )


if "tensorflow" not in sys.modules:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Without a driver there is no GPU to complain about, and the rest of what
    # TensorFlow's C++ logs as errors reaches Python as exceptions.
    has_driver = os.path.exists("/proc/driver/nvidia")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_driver else "3")
if "keras" not in sys.modules:
    os.environ["KERAS_BACKEND"] = "tensorflow"
