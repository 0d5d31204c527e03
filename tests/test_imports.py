"""The house: imports fall only downward, and only the mains read flags."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mec_tf

PACKAGE = Path(mec_tf.__file__).parent
MAINS = {"train", "evaluate", "report", "export", "compare"}
# Each room may import those below it, and itself.
FLOORS = [
    {"version", "errors", "messages", "callable_module"},
    {"files"},
    {"objectives", "optimizers", "augment"},
    {"choices"},
    {"data", "distribution"},
    {"config"},
    {"models"},
    {"training"},
    {"formats", "plots"},
    {"evaluations"},
    {"pretraining", "exporting", "reports"},
    {"command_line"},
    MAINS,
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "mec_tf":
                names = [alias.name for alias in node.names]
                yield from parts[1:2] or names
        elif isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "mec_tf":
                    yield parts[1]


def absl_names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "absl":
            yield from (alias.name for alias in node.names)


def modules():
    return [
        p
        for p in PACKAGE.rglob("*.py")
        if p.parent != PACKAGE or room(p) != "__init__"
    ]


def test_every_room_has_its_floor():
    assert {room(path) for path in modules()} <= FLOOR.keys()


def test_imports_fall_downward():
    climbing = [
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in modules()
        for other in imported_rooms(path)
        if other != "__version__"
        and other != room(path)
        and FLOOR[other] >= FLOOR[room(path)]
    ]
    assert climbing == []


def test_only_mains_see_flags():
    readers = {room(path) for path in modules() if "flags" in absl_names(path)}
    assert readers <= {"config", "command_line"}


def test_only_those_who_run_a_config_know_configs():
    readers = {
        room(path) for path in modules() if "config" in imported_rooms(path)
    }
    running = {"pretraining", "exporting", "reports", "evaluations"}
    mains = MAINS | {"config", "command_line"}
    assert readers <= mains | running


def test_objectives_import_tensorflow_and_keras_alone():
    for path in (PACKAGE / "objectives").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in modules:
                first = module.split(".")[0]
                assert (
                    first in ("tensorflow", "keras")
                    or first in sys.stdlib_module_names
                    or module.startswith("mec_tf.objectives")
                    or module == "mec_tf.errors"
                ), f"{path.name} imports {module}"


@pytest.mark.parametrize("name", ["pretrain", "evaluate", "export", "report"])
def test_the_package_offers_functions(name):
    assert callable(getattr(mec_tf, name))


def test_what_is_light_stays_light():
    """Locks, records and command lines answer before TensorFlow is loaded."""
    light = [
        "command_line.command",
        "command_line.main",
        "config",
        "files.atomic",
        "files.literal_paths",
        "formats.metadata",
        "training.run_lock",
        "training.workdir",
        *sorted(MAINS - {"compare"}),
    ]
    program = (
        f"import sys, {', '.join(f'mec_tf.{name}' for name in light)}\n"
        "assert not {'tensorflow', 'keras', 'numpy'} & sys.modules.keys()"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=PACKAGE.parent
    )
