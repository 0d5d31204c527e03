"""The images of a set that turned out not to be readable."""

import contextlib
import threading

import numpy as np
import tensorflow as tf
from absl import logging

# The run ends when more than this part of the images is bad, but not before
# so many were seen.
_TOLERATED = 0.1
_JUDGED_FROM = 100


class TooManyBadImages(ValueError):
    """More than a tenth of a set's images could not be read."""


def too_many(bad, seen):
    """Whether `bad` of `seen` images are more than a run puts up with."""
    return seen >= _JUDGED_FROM and bad > _TOLERATED * seen


@contextlib.contextmanager
def named(sources):
    """Turns TensorFlow's error back into the one of a set of bad images.

    Args:
      sources: `data.sources.Source`s that are read meanwhile, or None.
    """
    try:
        yield
    except tf.errors.OpError:
        for source in sources:
            if source is not None and source.bad is not None:
                source.bad.reraise()
        raise


class BadImages:
    """Remembers bad images, names each once and stops when they are many.

    A pipeline calls `note` for each batch. What `note` raises reaches the
    caller wrapped in one of TensorFlow's errors: `reraise` brings it back.

    Attributes:
      reasons: index -> why the image could not be read.
    """

    def __init__(self, size, name, explain, named=None):
        """Starts with no bad image known.

        Args:
          size: number of images in the set.
          name: function from an index to the image's name.
          explain: function from an index to the reason, called once for each
            bad image.
          named: names that need no further warning; a set, which grows.
        """
        self.reasons = {}
        self._size = size
        self._name = name
        self._explain = explain
        self._named = set() if named is None else named
        self._seen = np.zeros(size, bool)
        self._failure = None
        # Several datasets may read one set at the same time.
        self._lock = threading.Lock()

    def usable(self, requested):
        """Replaces images known to be bad by the next not known to be.

        Args:
          requested: int64 `[n]`, indices of images.

        Returns:
          int64 `[n]`.
        """
        with self._lock:
            return np.array([self._not_bad(int(k)) for k in requested])

    def part(self, indices):
        """The same for some of the images, int64 `[k]`, renumbered."""
        return BadImages(
            len(indices),
            name=lambda index: self._name(indices[index]),
            explain=lambda index: self._explain(indices[index]),
            named=self._named,
        )

    def note(self, requested, used):
        """Takes in one batch.

        Args:
          requested: int64 `[n]`, indices of the images asked for.
          used: int64 `[n]`, indices of those that came instead: the next
            readable ones, or -1 where none came.

        Raises:
          TooManyBadImages: when more than a tenth of at least 100 images were
            bad.
        """
        with self._lock:
            self._seen[requested] = True
            for index, end in zip(requested, used, strict=True):
                while index != end:
                    self._add(int(index))
                    index = end if end < 0 else (index + 1) % self._size
            seen, bad = int(self._seen.sum()), len(self.reasons)
            if too_many(bad, seen):
                self._failure = TooManyBadImages(
                    f"{bad:,} of the first {seen:,} images could not be read, "
                    f"more than {_TOLERATED:.0%}; the last was "
                    f"{self._name(list(self.reasons)[-1])}. Mend or remove "
                    "such files, each of which is named above."
                )
                raise self._failure

    def reraise(self):
        """Raises what `note` raised inside a pipeline, if it did."""
        if self._failure is not None:
            raise self._failure

    def _not_bad(self, index):
        while index in self.reasons and len(self.reasons) < self._size:
            index = (index + 1) % self._size
        return index

    def _add(self, index):
        self._seen[index] = True
        if index not in self.reasons:
            self.reasons[index] = self._explain(index)
            name = self._name(index)
            if name not in self._named:
                self._named.add(name)
                logging.warning("Skipped %s: %s.", name, self.reasons[index])
