"""Data sets that TensorFlow Datasets has prepared."""

import tensorflow_datasets as tfds

from mec_tf.data.bad_images import BadImages
from mec_tf.data.sources import tfds_records, unreadable
from mec_tf.data.sources.source import Source, Splits, checksum
from mec_tf.errors import UserError


def load(
    name: str, data_dir: str | None, train_split: str, test_split: str
) -> Splits:
    """A prepared set; arguments and errors as `sources.load` has them.

    Args:
        name: Of a builder, NAME or NAME/CONFIG.
        data_dir: TensorFlow Datasets' directory; None for its default.
        train_split: Name of the split to learn from.
        test_split: Name of the split to test on.
    """
    builder = find_builder(name, data_dir)

    def part(split):
        records = tfds_records.find_records(builder, split)
        return Source(
            name=f"tfds:{name}",
            description=f"{builder.info.full_name} {split} "
            f"({records.size:,} images)",
            size=records.size,
            read=records.read_image,
            read_labels=records.read_labels if records.class_names else None,
            class_names=records.class_names,
            multi_label=records.multi_label,
            read_names=records.read_names if records.name_key else None,
            identify=lambda: checksum(
                builder.info.full_name, split, *records.identity()
            ),
            fingerprint=lambda: checksum(
                builder.info.full_name, split, *records.fingerprint()
            ),
            bad=BadImages(
                records.size,
                name=records.describe,
                explain=lambda index: unreadable.reason(
                    records.read_image, index
                ),
                root=str(builder.data_dir),
            ),
        )

    pretrain = part(train_split)
    if pretrain.read_labels is None:
        return Splits(pretrain, None, None)
    return Splits(pretrain, pretrain, part(test_split))


def find_builder(name, data_dir):
    """Finds a prepared data set by name.

    Args:
        name: "NAME" or "NAME/CONFIG".
        data_dir: TensorFlow Datasets' directory; None for its default.

    Returns:
        A `tfds.core.DatasetBuilder` that is prepared.

    Raises:
        UserError: for an unknown name, or a set that is not prepared.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise UserError(
            f"Unknown dataset: 'tfds:{name}'. Expected the name of a builder "
            "of TensorFlow Datasets, such as tfds:cifar10, or of a set "
            f"prepared under `data_dir` ({data_dir or 'its default'})."
        ) from error
    if not builder.info.splits:
        raise UserError(
            f"tfds:{name} is not prepared: {builder.data_dir} does not hold "
            f"it. Prepare it with `tfds build {name} --data_dir=DIR` and give "
            "the same `data_dir`."
        )
    return builder
