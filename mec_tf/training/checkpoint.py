"""Checkpoints of a run: written atomically, verified, restored.

A checkpoint is a folder `step-00000123/` of TensorFlow's own checkpoint files
and `manifest.json`, which holds the step and the SHA-256 of every file. It is
written under another name and renamed, so that it is whole or not there at all.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import tensorflow as tf

from mec_tf.errors import Unwritten, UserError
from mec_tf.files.atomic import remove_folder, remove_leftovers, replaced_folder
from mec_tf.files.literal_paths import literal

MANIFEST = "manifest.json"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Folder of the checkpoints.
        max_to_keep: How many of the newest checkpoints stay, at least 1.
        **state: What is saved and restored, trackable objects by name.
    """

    def __init__(
        self, folder: str | Path, *, max_to_keep: int, **state: Any
    ) -> None:
        self.folder = Path(folder)
        self.max_to_keep = max_to_keep
        self.state = tf.train.Checkpoint(**state)

    def save(self, step: int) -> None:
        """Writes the state of a step; removes what is too old.

        Raises:
            Unwritten: If the disk does not take it; older checkpoints stay.
        """
        path = self.folder / f"step-{step:08d}"
        try:
            with replaced_folder(path) as partial:
                self.state.write(str(partial / "state"))
                manifest = {"step": step, "sha256": _checksums(partial)}
                (partial / MANIFEST).write_text(json.dumps(manifest, indent=1))
        except (tf.errors.OpError, OSError) as error:
            raise Unwritten(
                f"checkpoint of step {step} could not be written to"
                f" {self.folder}: {_first_line(error)}; earlier checkpoints are"
                " intact: make room and run the same command, without"
                " `overwrite`, again"
            ) from error
        for old in self.steps()[: -self.max_to_keep]:
            remove_folder(self._path(old))

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, ascending."""
        names = (path.name for path in self.folder.glob("step-*"))
        found = (re.fullmatch(r"step-(\d{8,})", name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def restore(self) -> tuple[int, list[str]]:
        """Restores the newest intact checkpoint.

        Several workers may restore at a time. Afterwards one of them calls
        `set_aside_damaged`.

        Returns:
            (step, warnings): the step, 0 where there is none to restore, and
            one line for every damaged checkpoint that was passed over.

        Raises:
            UserError: If every checkpoint there is is damaged, or if an
                intact one is of another model.
        """
        # Or a checkpoint that was just being replaced would not count.
        remove_leftovers(self.folder, "step-*")
        damaged = []
        for step in reversed(self.steps()):
            path = self._path(step)
            fault = find_fault(path)
            if fault is None:
                self._read(path)
                return step, [
                    f"{line}: not used, and set aside as {_aside(path).name}"
                    for path, line in damaged
                ]
            damaged.append((path, f"checkpoint {path} is damaged ({fault})"))
        if damaged:
            raise UserError(
                f"no checkpoint in {self.folder} is intact"
                f" ({'; '.join(line for _, line in damaged)}); start anew with"
                " `overwrite`"
            )
        return 0, []

    def set_aside_damaged(self, restored: int) -> None:
        """Renames damaged checkpoints, once every worker has restored.

        They would count among those that are kept, and good ones would be
        removed instead. They are not deleted: a disk may deliver later what it
        does not now.

        Args:
            restored: The step that `restore` returned.
        """
        for step in self.steps():
            if step > restored:
                path = self._path(step)
                remove_folder(_aside(path))
                os.replace(path, _aside(path))

    def _path(self, step):
        return self.folder / f"step-{step:08d}"

    def _read(self, path):
        try:
            with literal(path) as folder:
                self.state.read(str(folder / "state")).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise UserError(
                f"checkpoint {path} is of another model than the flags say"
                f" ({_first_line(error)}); give the flags that wrote it or"
                " another `workdir`"
            ) from error


def restore_part(folder: Path, step: int | None = None, **state: Any) -> int:
    """Restores some of the objects that a checkpoint holds.

    Args:
        folder: `pathlib.Path` of a run's checkpoints.
        step: Which one; None: the newest intact one.
        **state: Objects by the names that `Checkpoints` knows; a dict stands
            for an object of which its members are wanted.

    Returns:
        The step of the checkpoint that was read.

    Raises:
        UserError: If there is no such intact checkpoint, or if it does not
            hold the objects.
    """
    remove_leftovers(folder, "step-*")
    checkpoints = Checkpoints(folder, max_to_keep=1)
    steps = checkpoints.steps()
    wanted = (
        reversed(steps) if step is None else [s for s in steps if s == step]
    )
    faults = []
    for found in wanted:
        path = checkpoints._path(found)
        fault = find_fault(path)
        if fault is None:
            _read_part(path, state)
            return found
        faults.append(f"; {path.name} is damaged ({fault})")
    raise UserError(
        f"no checkpoint{'' if step is None else f' of step {step}'} can be read"
        f" in {folder}, which has those of steps"
        f" {', '.join(map(str, steps)) or 'none'}{''.join(faults)}; name the"
        " workdir of a run and one of its steps"
    )


def _read_part(path, state):
    root = tf.train.Checkpoint(
        **{
            name: tf.train.Checkpoint(**part)
            if isinstance(part, dict)
            else part
            for name, part in state.items()
        }
    )
    try:
        with literal(path) as folder:
            status = root.read(str(folder / "state"))
            status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise UserError(
            f"checkpoint {path} does not hold what the flags of its run say"
            f" ({_first_line(error)}); was the run's code or flags.cfg changed?"
        ) from error


def find_fault(path: Path) -> str | None:
    """The fault of a checkpoint folder, or None if it is intact."""
    try:
        expected = json.loads((path / MANIFEST).read_text())["sha256"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    for name, checksum in expected:
        if not (path / name).is_file():
            return f"{name} is missing"
        if sha256(path / name) != checksum:
            return f"{name} does not match its checksum"
    return None


def _aside(path):
    return path.with_name(f"damaged-{path.name}")


def _checksums(folder):
    return {
        file.name: sha256(file)
        for file in sorted(folder.iterdir())
        if file.name != MANIFEST
    }


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
