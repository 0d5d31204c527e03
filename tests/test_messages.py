"""Below a main a setting is a field in backticks; only a main knows flags."""

import ast
import re

import pytest
from test_imports import PACKAGE

ROOMS = (
    "augment",
    "data",
    "distribution",
    "formats",
    "models",
    "objectives",
    "optimizers",
    "plots",
    "training",
)
FLAG = re.compile(r"--(?:[a-z]\w*|\{\})")
# Commands that are not ours, and whose flags are written as they are; lines of
# a flagfile.
EXEMPT = re.compile(r"(tfds build|srun) .*|^--\{\}=\{\}\n$", re.DOTALL)


def texts(node):
    """Every string, docstrings too; an f-string as one, its fields as {}."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            part.value if isinstance(part, ast.Constant) else "{}"
            for part in node.values
        )
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from texts(part.value)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def flags_in(code):
    return [
        flag
        for text in texts(ast.parse(code))
        for flag in FLAG.findall(EXEMPT.sub("", text))
    ]


def test_a_flag_in_a_string_is_found():
    assert flags_in('x = "give --seed"; y = f"{z} --jit={f(\'--a\')}"') == [
        "--seed",
        "--jit",
        "--a",
    ]
    assert flags_in('f"--{name}={value} is too large"') == ["--{}"]
    assert flags_in('f"--{name}={value}\\n"') == []
    assert flags_in('x = "`tfds build x --data_dir=DIR`"  # --seed') == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_string_below_a_main_holds_a_flag(room):
    paths = list((PACKAGE / room).rglob("*.py"))
    assert paths
    found = {
        str(path.relative_to(PACKAGE)): flags
        for path in paths
        if (flags := flags_in(path.read_text()))
    }
    assert found == {}
