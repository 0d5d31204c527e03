"""Commands are modules and functions, in whatever order they are imported."""

import shutil
import subprocess
import sys

import pytest
from conftest import environment

import mec_tf
from mec_tf.errors import UserError

ORDERS = [
    "import mec_tf; call = mec_tf.{name}",
    "from mec_tf import {name} as call",
    "import mec_tf.{name} as call",
    "import mec_tf.{name}; call = mec_tf.{name}",
    "import mec_tf.{room}; import mec_tf; call = mec_tf.{name}",
    "from mec_tf.{name} import main; from mec_tf import {name} as call",
]
CALL = """
assert callable(call) and callable(call.main)
import mec_tf, sys
assert call is mec_tf.{name} is sys.modules["mec_tf.{name}"]
assert "tensorflow" not in sys.modules or "{room}" in order
"""


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("evaluate", "evaluations.run"),
        ("export", "exporting.run"),
        ("report", "reports.run"),
    ],
)
def test_in_any_order(name, room):
    for order in ORDERS:
        order = order.format(name=name, room=room)
        program = f"order = {order!r}\n{order}\n{CALL}"
        subprocess.run(
            [sys.executable, "-c", program.format(name=name, room=room)],
            env=environment(),
            check=True,
        )


def test_they_do_what_the_command_does(small_run, tmp_path, monkeypatch):
    folder, _ = small_run
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "runs/small", tmp_path / "runs/small")
    exported = mec_tf.export(
        mec_tf.ExportConfig(workdir="runs/small", format="keras")
    )
    assert str(exported) == "exports/small_keras"
    assert (exported / "encoder.keras").is_file()
    with pytest.raises(UserError, match="`overwrite`"):
        mec_tf.export(mec_tf.ExportConfig(workdir="runs/small", format="keras"))
    drawn = mec_tf.report(
        mec_tf.ReportConfig(workdir="runs/small", draw_views=True, seed=1)
    )
    assert drawn.curves.is_file() and drawn.views.is_file()
    with pytest.raises(UserError, match="`workdir`"):
        mec_tf.report(mec_tf.ReportConfig())
