"""Features that were extracted before, kept on disk.

An entry is a folder named after a checksum of all that features depend on: the
encoder's weights, the images (of a folder: each file's name, size and time of
change), their size, crop and resampling. So what has changed has another name,
and nothing stale is found. Labels are not stored: they are the data set's.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from mec_tf.data import bad_images, pipeline
from mec_tf.data.sources import checksum
from mec_tf.evaluations.features import Features, extract
from mec_tf.files import replaced_folder

_VALUES, _INDEX = "values.npy", "index.npy"
# Of this layout; a new number makes old entries unknown.
_VERSION = 1


def features_of(source, encode, *, encoder, folder=None, batch_size, **crop):
    """Features of a source, from the cache where they are there.

    Args:
        source: `data.sources.Source`.
        encode: Function of float32 RGB `[n, h, w, 3]` in [0, 1] that returns
            features `[n, d]`.
        encoder: Checksum of the encoder.
        folder: The cache; created where it is missing. None: no cache, and the
            features stay in memory, once.
        batch_size: Images at a time.
        **crop: What `pipeline.evaluation_batches` takes: `image_size` and
            more.

    Returns:
        `Features`; with a cache their values are memory-mapped.

    Raises:
        ValueError: If none or too few of the images can be read.
    """
    batches = pipeline.evaluation_batches(source, batch_size=batch_size, **crop)
    batches = _with_bar(batches, source)
    of = {"size": source.size, "name": source.description}
    if folder is None:
        return extract(encode, batches, **of)
    key = checksum(_VERSION, encoder, source.identify(), sorted(crop.items()))
    entry = Path(folder) / key[:32]
    if not entry.exists():
        with replaced_folder(entry) as partial:
            extracted = extract(encode, batches, path=partial / _VALUES, **of)
            np.save(partial / _INDEX, extracted.index)
    index = np.load(entry / _INDEX)
    values = np.load(entry / _VALUES, mmap_mode="r")[: len(index)]
    labels = source.labels
    if labels is None:
        labels = np.full(source.size, -1, np.int64)
    return Features(values, labels[index], index)


def _with_bar(batches, source):
    """The batches; on a terminal a bar shows how far they are."""
    with (
        bad_images.named([source]),
        tqdm(
            total=source.size,
            desc=source.name,
            unit=" images",
            disable=None,
        ) as bar,
    ):
        for batch in batches:
            yield batch
            bar.update(len(batch["index"]))
