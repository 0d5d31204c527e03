"""Reports files of a folder that are left out: which, how many and why."""

import collections

from mec_tf.data.file_names import printable
from mec_tf.data.sources.folder import suffixes
from mec_tf.errors import UserError

_MAX_KINDS = 6


class LeftOut:
    """Counts the files that are no images that we read, by suffix.

    Attributes:
        unread: (suffix, format) -> paths, of images in formats that are not
            read.
        others: suffix -> paths, of other files than texts.
        texts: suffix -> number, of texts and tables, which is as usual.
    """

    def __init__(self, texts):
        """Starts from the texts that were passed over for their names."""
        self.unread = collections.defaultdict(list)
        self.others = collections.defaultdict(list)
        self.texts = collections.Counter(texts)

    def add(self, path, format_name, *, is_text):
        """Takes in a file.

        Args:
            path: of the file.
            format_name: of an image that is not read; else None.
            is_text: whether it may be a text, or is empty.
        """
        suffix = suffixes.of(path)
        if format_name or suffix in suffixes.NOT_READ:
            name = suffixes.NOT_READ.get(suffix, format_name)
            self.unread[suffix, name].append(path)
        elif is_text:
            self.texts[suffix] += 1
        else:
            self.others[suffix].append(path)

    @property
    def unread_images(self):
        """How many images are in formats that are not read."""
        return sum(map(len, self.unread.values()))

    def lines(self, folder, kept):
        """A message for each kind of left-out file.

        Args:
            folder: path that the files lie below.
            kept: number of images that are used.
        """
        lines = []
        if self.unread:
            lines.append(f"Left out {self._unread_images(folder, kept)}.")
        if self.others:
            count = sum(map(len, self.others.values()))
            kinds = _by_count(
                (_kind(suffix), paths) for suffix, paths in self.others.items()
            )
            lines.append(
                f"Left out {count:,} of the {count + kept:,} files in "
                f"{printable(folder)}, which hold no image: {kinds}."
            )
        return lines

    def require_most_kept(self, folder, kept):
        """Refuses a set of which more is left out than kept.

        Raises:
            UserError: where more images are in formats that are not read.
        """
        if self.unread_images > kept:
            raise UserError(
                f"Most of the images would be left out, "
                f"{self._unread_images(folder, kept)}; or move them elsewhere"
            )

    def passed_over(self):
        """Texts and tables by suffix, for people; or an empty text."""
        kinds = [
            f"{count:,} {_kind(suffix)}"
            for suffix, count in self.texts.most_common(_MAX_KINDS)
        ]
        more = sum(self.texts.values()) - sum(
            count for _, count in self.texts.most_common(_MAX_KINDS)
        )
        return ", ".join(kinds + [f"{more:,} more"] * bool(more))

    def _unread_images(self, folder, kept):
        count, images = self.unread_images, self.unread_images + kept
        kinds = _by_count(
            (f"{_kind(suffix)} ({name} is not read)", paths)
            for (suffix, name), paths in self.unread.items()
        )
        return (
            f"{count:,} of the {images:,} images in {printable(folder)} "
            f"({count / images:.0%}): {kinds}; convert them to JPEG or PNG"
        )


def _kind(suffix):
    return printable(suffix) or "without a suffix"


def _by_count(kinds):
    kinds = sorted(kinds, key=lambda kind: -len(kind[1]))
    lines = [
        f"{len(paths):,} {kind}, such as {printable(paths[0])}"
        for kind, paths in kinds[:_MAX_KINDS]
    ]
    more = sum(len(paths) for _, paths in kinds[_MAX_KINDS:])
    return "; ".join(lines + [f"{more:,} more"] * bool(more))
