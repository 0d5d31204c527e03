"""The second environment's tests: what the main environment wrote for them."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
MAIN_PYTHON = os.environ.get("MAIN_PYTHON", REPOSITORY / ".venv/bin/python")


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Folder that `exporter.py` filled, run by the main environment."""
    folder = tmp_path_factory.mktemp("written")
    exporter = REPOSITORY / "tests_interop/exporter.py"
    subprocess.run(
        [MAIN_PYTHON, exporter, folder],
        check=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    return folder


@pytest.fixture(scope="session")
def expected(written):
    """Inputs, and what the exporter computed from them."""
    with np.load(written / "expected.npz") as arrays:
        return dict(arrays)
