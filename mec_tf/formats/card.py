"""`encoder.json`: what an exported encoder is, beside its weights."""

import contextlib
import json

from mec_tf.errors import UserError
from mec_tf.training import run_record
from mec_tf.training.run_lock import Lock
from mec_tf.training.workdir import FLAGS_FILE
from mec_tf.version import __version__

CARD = "encoder.json"
# What exports of all formats consist of; what else stands there is the user's.
_WRITTEN = (
    "encoder.*",
    "detectron2.yaml",
    "saved_model.pb",
    "fingerprint.pb",
    "variables",
    "assets",
    ".DS_Store",  # a Mac that looked at the folder left it
)
# Seconds that who exports waits for another who exports to the same folder.
_WAIT_SECONDS = 60


def refuse_what_stands_in_the_way(folder, *, overwrite, own=False):
    """Makes sure that an export may take a folder's place.

    Args:
        folder: `pathlib.Path` of the export to be.
        overwrite: Whether an export that stands there may be replaced; nothing
            else ever is.
        own: Whether an export that stands there is of the run that asks.

    Raises:
        UserError: If what stands there is no export, one to be kept, or holds
            files that no export has.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / CARD).is_file():
        raise UserError(
            f"`export_dir`={folder} exists and is no export ({CARD} is"
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
def export_lock(folder):
    """A context in which no other process exports to a folder.

    Args:
        folder: `pathlib.Path` of the export to be.

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


def made_by(folder, run_id):
    """Whether a run made an export.

    Args:
        folder: `pathlib.Path` of the export.
        run_id: Of the run.

    Returns:
        True or False; None where the card does not say which run it was:
        versions before wrote none.
    """
    found = _maker(folder).get("id")
    return None if found is None else found == run_id


def may_be_of(folder, workdir):
    """Whether a run may have made an export, as far as its card tells.

    Args:
        folder: `pathlib.Path` of the export.
        workdir: `pathlib.Path` of the run, which need not have begun.
    """
    if not (workdir / FLAGS_FILE).exists():
        return False
    record = run_record.read(workdir)
    return made_by(folder, record and record.id) is not False


def _maker(folder):
    """What a card says of the run that made the export, a dict."""
    try:
        return read_card(folder).get("run") or {}
    except (OSError, ValueError, AttributeError):
        return {}


def write_card(
    folder,
    encoder,
    *,
    backbone,
    image_size,
    mean,
    std,
    objective,
    dataset,
    steps,
    scores,
    run=None,
):
    """Writes the card of an encoder.

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
    card = {
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
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def read_card(folder):
    """The dict of an export's card.

    Args:
        folder: `pathlib.Path` of the export.

    Raises:
        OSError: If there is none.
        UserError: If it is no JSON.
    """
    return json.loads((folder / CARD).read_text())
