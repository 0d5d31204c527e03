"""`encoder.json`: the metadata of an export, and which run owns it."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mec_tf.errors import UserError
from mec_tf.training import run_record
from mec_tf.training.run_lock import Lock
from mec_tf.training.workdir import FLAGS_FILE
from mec_tf.version import __version__

if TYPE_CHECKING:  # who asks whose an export is needs no network
    import keras

METADATA_FILE = "encoder.json"
# All files that exports of any format consist of; others are the user's. A new
# file of an export gets a line here.
_WRITTEN = (
    "encoder.*",
    "detectron2.yaml",
    "saved_model.pb",
    "fingerprint.pb",
    "variables",
    "assets",
    ".DS_Store",  # a Mac that looked at the folder left it
)
# Seconds to wait for another process that exports to the same folder.
_WAIT_SECONDS = 60


def check_export_dir(
    folder: Path, *, overwrite: bool, own: bool = False
) -> None:
    """Makes sure that an export may be written to a folder.

    Args:
        folder: Of the export to be written.
        overwrite: Whether an export in the folder may be replaced; nothing else
            ever is.
        own: Whether the export in the folder is of the same run.

    Raises:
        UserError: If the folder is no export, or an export that must not be
            replaced, or holds files that no export has.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / METADATA_FILE).is_file():
        raise UserError(
            f"`export_dir`={folder} exists and is no export ({METADATA_FILE} is"
            " missing); name another folder, or move this one away"
        )
    if not (overwrite or own):
        maker = _maker(folder).get("workdir")
        raise UserError(
            f"`export_dir`={folder} holds an export"
            f"{f' of the run in {maker}' if maker else ''}; name another"
            " folder, or replace it with `overwrite`"
        )
    ours = {path for name in _WRITTEN for path in folder.glob(name)}
    others = sorted(path.name for path in set(folder.iterdir()) - ours)
    if others:
        raise UserError(
            f"`export_dir`={folder} also holds what is no part of an export and"
            f" would be lost with it: {', '.join(others[:5])}"
            f"{f' and {len(others) - 5} more' if len(others) > 5 else ''}; move"
            " it away, or name another folder"
        )


@contextlib.contextmanager
def export_lock(folder: Path) -> Iterator[None]:
    """A context in which no other process exports to a folder.

    Args:
        folder: Of the export to be written.

    Raises:
        UserError: If another process does so for a minute.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Lock(
        folder.with_name(f".{folder.name}.lock"),
        f"`export_dir`={folder}",
        remedy="and give the same command again, or name another folder",
        wait=_WAIT_SECONDS,
    ):
        yield


def made_by(folder: Path, run_id: str | None) -> bool | None:
    """Whether a run made an export.

    Args:
        folder: `pathlib.Path` of the export.
        run_id: Of the run.

    Returns:
        True or False; None if the metadata does not say, as that of older
        versions.
    """
    found = _maker(folder).get("id")
    return None if found is None else found == run_id


def may_be_of(folder: Path, workdir: Path) -> bool:
    """Whether a run may have made an export, going by its metadata.

    Args:
        folder: `pathlib.Path` of the export.
        workdir: `pathlib.Path` of the run, which need not have begun.
    """
    if not (workdir / FLAGS_FILE).exists():
        return False
    record = run_record.read(workdir)
    return made_by(folder, record and record.id) is not False


def _maker(folder):
    """The metadata's dict about the run that made the export."""
    try:
        return read_metadata(folder).get("run") or {}
    except (OSError, ValueError, AttributeError):
        return {}


def write_metadata(
    folder: Path,
    encoder: "keras.Model",
    *,
    backbone: str,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    objective: str | None,
    dataset: str | None,
    steps: int | None,
    scores: Mapping[str, float],
    run: Mapping[str, Any] | None = None,
) -> None:
    """Writes the metadata of an encoder.

    Args:
        folder: `pathlib.Path` of the export.
        encoder: `keras.Model`, images to features `[n, d]`.
        backbone: Name of the backbone.
        image_size: Side that it was trained at, pixels.
        mean: The normalisation inside the encoder, three floats.
        std: Likewise.
        objective: Name of the loss, None if it was not trained.
        dataset: What it was trained on, None if that is not known.
        steps: For how many steps, None if that is not known.
        scores: Dict of measured scores, each named with its split.
        run: Dict of `id` and `workdir` of the run that made it, None if none
            did.
    """
    metadata = {
        "backbone": backbone,
        "feature_dim": encoder.output_shape[-1],
        "image_size": image_size,
        "input_range": [0.0, 1.0],
        "mean": list(mean),
        "std": list(std),
        "objective": objective,
        "dataset": dataset,
        "steps": steps,
        "version": __version__,
        "scores": scores,
        "run": run,
    }
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")


def read_metadata(folder: Path) -> dict[str, Any]:
    """Reads the metadata of an export.

    Args:
        folder: `pathlib.Path` of the export.

    Raises:
        OSError: If there is none.
        UserError: If it is no JSON.
    """
    return json.loads((folder / METADATA_FILE).read_text())
