"""What is printed cannot end a run."""

import subprocess
import sys

import pytest
from conftest import environment

from mec_tf.command_line import output

PRINTS = """
import sys
from mec_tf.command_line import output
with output.lenient():
    for _ in range(3):
        print("to nobody")
        print("to nobody", file=sys.stderr, flush=True)
    sys.stderr.isatty()
    open("kept", "w").write("kept")
    sys.exit(7)
"""


@pytest.mark.parametrize("where", ["> /dev/full 2>&1", ">&- 2>&- <&-"])
def test_a_full_disk_or_no_output_at_all(tmp_path, where):
    ended = subprocess.run(
        f'"{sys.executable}" -c "$PRINTS" {where}',
        shell=True,
        cwd=tmp_path,
        env=environment() | {"PRINTS": PRINTS},
        timeout=300,
    )
    # Neither 1, an error, nor 120, Python's own for output that it lost.
    assert ended.returncode == 7
    assert (tmp_path / "kept").read_text() == "kept"


def test_letters_that_a_locale_lacks(tmp_path):
    with open(tmp_path / "ascii", "w", encoding="ascii") as file:
        output.Lenient(file).write("Wörter\n")
    assert (tmp_path / "ascii").read_text() == "W\\xf6rter\n"
