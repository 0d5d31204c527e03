"""Images that cannot be read during training: skipped, replaced, counted."""

import contextlib
import os
import threading

import numpy as np
import tensorflow as tf
from absl import logging

from mec_tf.errors import UserError

# The run ends when more than this part of the images is bad, but not before
# so many were seen.
_TOLERATED = 0.1
_JUDGED_FROM = 100
# Where so many in a row cannot be read, no other is looked for any more.
REACH = 1000


class TooManyBadImages(UserError):
    """A tenth of a set's images, or so many in a row, cannot be read."""


class Lost(str):
    """A reason that lies not in the image: it cannot be reached any more."""


def too_many(bad, seen):
    """Whether `bad` of `seen` images are more than a run puts up with."""
    return seen >= _JUDGED_FROM and bad > _TOLERATED * seen


@contextlib.contextmanager
def reporting_failures(sources):
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

    def __init__(self, size, name, explain, root=None, named=None):
        """Starts with no bad image known.

        Args:
            size: number of images in the set.
            name: function from an index to the image's name.
            explain: function from an index to the reason, called once for each
                bad image; a `Lost` where the image cannot be reached.
            root: folder that holds the images; if an image is lost and the
                folder is, too, or is empty, the run ends at once. None: not
                known.
            named: names that need no further warning; a set, which grows.
        """
        self.reasons = {}
        self._size = size
        self._name = name
        self._explain = explain
        self._root = root
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
            root=self._root,
            named=self._named,
        )

    def note(self, requested, used, reach=0):
        """Takes in one batch.

        Args:
            requested: int64 `[n]`, indices of the images asked for.
            used: int64 `[n]`, indices of those that came instead: the next
                readable ones, or -1 where none came.
            reach: how many in a row were tried in place of each; 0: only
                itself, and to go without it is no fault.

        Raises:
            TooManyBadImages: when more than a tenth of at least 100 images were
                bad, when none of `reach` in a row could be read, or when the
                folder that holds them is gone.
        """
        with self._lock:
            self._seen[requested] = True
            for first, end in zip(requested, used, strict=True):
                index = first
                while index != end:
                    self._add(int(index))
                    index = end if end < 0 else (index + 1) % self._size
                if end < 0 < reach:
                    self._fail(
                        f"not one of {reach:,} images in a row could be read,"
                        f" from {self._name(first)} on"
                    )
            seen, bad = int(self._seen.sum()), len(self.reasons)
            if too_many(bad, seen):
                self._failure = (
                    f"{bad:,} of the first {seen:,} images could not be read, "
                    f"more than {_TOLERATED:.0%}; the last was "
                    f"{self._name(list(self.reasons)[-1])}. Mend or remove "
                    "such files, each of which is named above."
                )
                self.reraise()

    def reraise(self):
        """Raises what `note` raised inside a pipeline, if it did."""
        if self._failure is not None:
            # A new one: an error that is raised again collects frames.
            raise TooManyBadImages(self._failure)

    def _not_bad(self, index):
        while index in self.reasons and len(self.reasons) < self._size:
            index = (index + 1) % self._size
        return index

    def _add(self, index):
        self._seen[index] = True
        if index in self.reasons:
            return
        reason = self.reasons[index] = self._explain(index)
        name = self._name(index)
        if isinstance(reason, Lost) and _is_gone(self._root):
            self._fail(
                f"{self._root} is gone or empty, and the images in it cannot be"
                f" read any more, such as {name}"
            )
        if name not in self._named:
            self._named.add(name)
            logging.warning("Skipped %s: %s.", name, reason)

    def _fail(self, what):
        self._failure = (
            f"{what}. Bring the images back and run the same command again,"
            " without `overwrite`."
        )
        self.reraise()


def _is_gone(folder):
    """Whether nothing is there; an unmounted drive leaves an empty folder."""
    if folder is None:
        return False
    if "://" in folder:
        return not tf.io.gfile.isdir(folder)
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return True
