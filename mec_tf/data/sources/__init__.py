"""Data sources: digits, a folder of images, or TensorFlow Datasets.

A `Source` is a numbered set of images. Order, random views and labels of an
image follow from its number, the index.
"""

from mec_tf.data.sources import digits, folder, tfds
from mec_tf.data.sources.source import Source, Splits, checksum
from mec_tf.errors import UserError

__all__ = ["Source", "Splits", "checksum", "load"]


def load(
    dataset: str,
    *,
    data_dir: str | None = None,
    train_split: str = "train",
    test_split: str = "test",
    seed: int = 0,
) -> Splits:
    """Loads the splits of a data set.

    digits: scikit-learn's 1,797 handwritten digits. A seeded stratified fifth
    is the test split; the encoder never sees it.

    folder: `data_dir/train_split` and `data_dir/test_split` where they exist,
    under whatever of their usual names (`folder.splits.find_splits`), else all
    of `data_dir` is for pretraining. With a folder per class and no test split,
    a seeded stratified fifth is held out of the references as the
    test split (of them only: pretraining looks at no labels).

    tfds: a set that TensorFlow Datasets has prepared under `data_dir`.

    Args:
        dataset: "digits", "folder" or "tfds:NAME[/CONFIG]".
        data_dir: the folder of images, or TensorFlow Datasets' directory.
        train_split: name of the split to learn from.
        test_split: name of the split to test on.
        seed: decides which images are held out where there is no test split.

    Returns:
        Splits(pretrain, references, test), each a `Source`; the last two
        are None where there are no labels.

    Raises:
        UserError: for an unknown data set or split, a set that is not prepared,
            a folder without readable images.
        MissingPath: for a missing folder.
        TooManyBadImages: if more than a tenth of at least 100 files are
            refused.
    """
    if dataset == "digits":
        return digits.load(train_split, test_split, seed)
    if dataset == "folder":
        return folder.load(data_dir, train_split, test_split, seed)
    kind, _, name = dataset.partition(":")
    if kind == "tfds" and name:
        return tfds.load(name, data_dir, train_split, test_split)
    raise UserError(
        f"Unknown dataset: {dataset!r}. Expected digits, folder or "
        "tfds:NAME[/CONFIG], such as tfds:cifar10."
    )
