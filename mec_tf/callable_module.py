"""Commands that are called like functions: `mec_tf.export(config)`.

`mec_tf.export` is a module, so that `python -m mec_tf.export` runs it. Once it
is imported it is an attribute of the package, which must also be the function
of that name. So the module itself can be called.
"""

import importlib
import sys
import types


def make(name: str, room: str, function: str) -> None:
    """Makes a module callable.

    Args:
        name: `__name__` of the module; if it is run as a command, nothing is
            done.
        room: Module of the function, imported once it is called.
        function: Name of the function that is called.
    """
    if name == "__main__":
        return

    class Command(types.ModuleType):
        def __call__(self, *arguments, **options):
            call = getattr(importlib.import_module(room), function)
            return call(*arguments, **options)

    sys.modules[name].__class__ = Command
