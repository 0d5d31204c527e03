"""Sets that TensorFlow Datasets has prepared."""

from mec_tf.data.bad_images import BadImages
from mec_tf.data.sources import tfds_records, unreadable
from mec_tf.data.sources.source import Source, Splits, checksum


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
    builder = tfds_records.find_builder(name, data_dir)

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
