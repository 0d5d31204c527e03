"""The protocol `features`: features of all images, written to a file."""

import os
from pathlib import Path

import numpy as np

from mec_tf.config import EvaluateConfig
from mec_tf.data import sources
from mec_tf.data.file_names import stored
from mec_tf.evaluations.protocols import Evaluation, Protocol
from mec_tf.evaluations.subjects import frozen_features
from mec_tf.formats import encoders, feature_file


def run(evaluation: Evaluation) -> dict:
    """Writes the features of all images of the training split.

    Returns:
        Dict: `results`, one row: `encoder`, `images` and `feature_dim`.

    Raises:
        UserError: If names cannot be written, or the disk has no room.
    """
    config = evaluation.config
    (subject,) = evaluation.subjects
    source = sources.load(**config.source_options()).pretrain
    # All that can fail fails before features are computed.
    files = source.names or [str(k) for k in range(source.size)]
    names = feature_file.stored_names(files)
    paths = _paths(files, config) or names
    side = subject.image_size
    opened = encoders.open_encoder(subject.name)
    encode, _ = opened
    d = encode(np.zeros([1, side, side, 3], np.float32)).shape[-1]
    feature_file.require_room(config.output, source.size, d)
    (found,) = frozen_features(subject, config, source, opened=opened)
    feature_file.save(
        config.output,
        found,
        [names[k] for k in found.index],
        source.class_names,
        [paths[k] for k in found.index],
    )
    row = {"encoder": subject.name, "images": len(found.values)}
    return {"results": [row | {"feature_dim": d}]}


def show(result: dict) -> None:
    """Prints what was written."""
    (row,) = result["results"]
    print(
        f"{row['images']:,} features of {row['feature_dim']} numbers:"
        f" {result['flags']['output']}"
    )


def _output_check(output: str) -> Path:
    feature_file.check(output)
    return feature_file.json_path_of(output)


def _paths(files: list[str], config: EvaluateConfig) -> list[str] | None:
    """Paths relative to the folder of the data; None: there is no folder."""
    if config.dataset != "folder":
        return None
    return [
        stored(Path(os.path.relpath(file, config.data_dir)).as_posix())
        for file in files
    ]


PROTOCOL = Protocol(
    run=run,
    show=show,
    settings=frozenset({"feature_cache"}),
    output_check=_output_check,
)
