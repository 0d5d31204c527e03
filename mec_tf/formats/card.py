"""`encoder.json`: what an exported encoder is, beside its weights."""

import json

from mec_tf.errors import UserError
from mec_tf.version import __version__

CARD = "encoder.json"


def refuse_what_stands_in_the_way(folder, *, overwrite, own=False):
    """Makes sure that an export may take a folder's place.

    Args:
        folder: `pathlib.Path` of the export to be.
        overwrite: Whether an export that stands there may be replaced; nothing
            else ever is.
        own: Whether an export that stands there is of the run that asks.

    Raises:
        UserError: If what stands there is no export, or one to be kept.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / CARD).is_file():
        raise UserError(
            f"--export_dir={folder} exists and is no export ({CARD} is"
            " missing); name another folder, or move this one away"
        )
    if not (overwrite or own):
        raise UserError(
            f"--export_dir={folder} holds an export; name another folder, or"
            " replace it with --overwrite"
        )


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
