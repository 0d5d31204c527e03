"""A cache of extracted features on disk.

An entry is a file named after a checksum of all that features depend on: the
encoder's weights, the images (of a folder: each file's name, size and time of
change), their size, crop and resampling. So what has changed has another name,
and nothing stale is found. Labels are not stored: they are the data set's.

The file is NumPy's `.npy` of the values, followed by that of the index and by
the SHA-256 of the name and of all that precedes, as 64 hexadecimal digits. It
is verified each time that it is read; being one file, it cannot be mixed of two
writers' parts, and who has it open keeps it whatever happens to its name.
"""

import hashlib
from pathlib import Path

import numpy as np
from absl import logging
from tqdm import tqdm

from mec_tf.data import bad_images, pipeline
from mec_tf.data.sources import checksum
from mec_tf.errors import UserError
from mec_tf.evaluations.features import Features, extract
from mec_tf.files.atomic import remove_leftovers, replaced_file

# Of this layout; a new number makes old entries unknown.
_VERSION = 2
_DIGITS = 64
_CHUNK = 2**20


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
        UserError: If the cache is a file.
        ValueError: If none or too few of the images can be read.
        OSError: If the disk does not keep what is written to it.
    """
    batches = pipeline.evaluation_batches(source, batch_size=batch_size, **crop)
    batches = _with_bar(batches, source)
    of = {"size": source.size, "name": source.description}
    if folder is None:
        return extract(encode, batches, **of)
    key = checksum(_VERSION, encoder, source.identify(), sorted(crop.items()))
    entry = _made(folder) / f"{key[:32]}.npy"
    try:
        values, index = _read(entry, key)
    except (FileNotFoundError, _Damaged) as fault:
        if isinstance(fault, _Damaged):
            logging.warning("%s %s: its features are made anew.", entry, fault)
        remove_leftovers(entry.parent, "*.npy")
        # Two that extract the same at a time write the same: either may stay.
        with replaced_file(entry) as partial:
            extracted = extract(encode, batches, path=partial, **of)
            values, index = _seal(partial, key, extracted.index)
    labels = source.labels
    if labels is None:
        labels = np.full(source.size, -1, np.int64)
    return Features(values, labels[index], index)


class _Damaged(Exception):
    """What is wrong with an entry, after its name."""


def _made(folder):
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"`feature_cache`={folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _seal(path, key, index):
    """Completes an entry of which the values are there; what it holds."""
    with open(path, "ab") as file:
        np.save(file, index)
    with open(path, "rb") as file:
        digits = _digits(file, key, path.stat().st_size)
    with open(path, "ab") as file:
        file.write(digits)
    try:
        return _read(path, key)
    except _Damaged as fault:
        raise OSError(
            f"features written to {path.parent} could not be read again: the"
            f" file {fault}; name another `feature_cache`"
        ) from fault


def _read(path, key):
    """An intact entry.

    Returns:
        (values, index): float32 `[n, d]`, memory-mapped, and int64 `[n]`.

    Raises:
        FileNotFoundError: If there is none.
        _Damaged: If it is not what was written under this key.
    """
    with open(path, "rb") as file:
        length = file.seek(0, 2) - _DIGITS
        if length <= 0:
            raise _Damaged("is cut off")
        file.seek(0)
        if _digits(file, key, length) != file.read():
            raise _Damaged("does not match its checksum")
        file.seek(0)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        start = file.tell()
        values = np.memmap(file, dtype, "r", start, shape)
        file.seek(start + values.nbytes)
        index = np.load(file)
    # Images that could not be read have left rows of zeros at the end.
    return values[: len(index)], index


def _digits(file, key, length):
    digest = hashlib.sha256(key.encode())
    while length > 0 and (chunk := file.read(min(length, _CHUNK))):
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest().encode()


def _with_bar(batches, source):
    """The batches; on a terminal a bar shows how far they are."""
    with (
        bad_images.reporting_failures([source]),
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
