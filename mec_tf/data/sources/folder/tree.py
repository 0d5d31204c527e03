"""The files below a folder in natural order, without system files."""

import collections
import dataclasses
import os
import re

from mec_tf.data import headers
from mec_tf.data.sources.folder import suffixes

# What file servers, systems and programs put among other people's images, in
# small letters: thumbnails, deleted files, caches. What begins with a dot is
# ignored, too.
IGNORED = frozenset(
    (
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "__macosx",
        "__pycache__",
        "lost+found",
        "network trash folder",
        "temporary items",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    )
)


@dataclasses.dataclass
class Tree:
    """The files below a folder.

    Attributes:
        files: paths of the files that may be images, in natural order.
        refused: path -> why it cannot be used.
        texts: suffix -> how many files are passed over for it, unopened.
        folders: every folder below, as paths.
    """

    files: list[str] = dataclasses.field(default_factory=list)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    texts: collections.Counter = dataclasses.field(
        default_factory=collections.Counter
    )
    folders: list[str] = dataclasses.field(default_factory=list)


def walk(directory):
    """Finds every file that may be an image, as a `Tree`.

    Raises:
        OSError: where `directory` itself cannot be read.
    """
    found, visited = Tree(), set()

    def visit(folder):
        entries = _entries(folder, visited)
        if entries is None:
            return
        before = len(found.files)
        for entry in entries:
            suffix = suffixes.of(entry.name)
            try:
                is_folder = entry.is_dir()
                if is_folder:
                    found.folders.append(entry.path)
                    visit(entry.path)
            except OSError as error:  # A link to itself, a lack of rights.
                found.refused[entry.path] = error.strerror or str(error)
                continue
            if is_folder:
                continue
            if not entry.is_file():
                if suffix in suffixes.IMAGES:
                    found.refused[entry.path] = (
                        "a broken link or no regular file"
                    )
            elif suffix in suffixes.TEXTS:
                found.texts[suffix] += 1
            else:
                found.files.append(entry.path)
        named_as_file = suffixes.of(folder) in suffixes.IMAGES
        if named_as_file and len(found.files) == before:
            found.refused[folder] = "a directory, not a file"

    visit(directory)
    found.files.sort(key=natural)
    return found


def look(folder):
    """The (folders, files) directly in a folder as names, folders sorted."""
    folders, files = [], []
    for entry in _entries(folder, set()) or ():
        try:
            (folders if entry.is_dir() else files).append(entry.name)
        except OSError:  # `walk` says so, where the folder is used.
            continue
    return sorted(folders, key=natural), files


def holds_images(folder):
    """Whether a folder, or one below it, holds an image; stops at the first."""
    visited = set()

    def visit(folder):
        try:
            entries = _entries(folder, visited)
        except OSError:  # `walk` says so, where the folder is used.
            return False
        unknown, below = [], []
        for entry in entries or ():
            suffix = suffixes.of(entry.name)
            try:
                if entry.is_dir():
                    below.append(entry.path)
                elif suffix in suffixes.IMAGES:
                    return True
                elif suffix not in suffixes.TEXTS and entry.is_file():
                    unknown.append(entry.path)
            except OSError:
                continue
        return any(map(visit, below)) or any(map(_begins_as_image, unknown))

    return visit(folder)


def contents(folder):
    """What a folder holds, for people: a few names."""
    names = sorted(os.listdir(folder), key=natural)
    return shortened(names) if names else "nothing"


def shortened(names, most=5):
    """The first of many names, for people."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def natural(name):
    """Sorts "img2" before "img10"."""
    parts = re.split(r"(\d+)", name)
    parts[::2] = [text.lower() for text in parts[::2]]
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts, name


def _entries(folder, visited):
    """Entries of a folder that count; None at a second visit (a link up)."""
    status = os.stat(folder)
    if (status.st_dev, status.st_ino) in visited:
        return None
    visited.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        return [
            entry
            for entry in entries
            if not entry.name.startswith(".")
            and entry.name.lower() not in IGNORED
        ]


def _begins_as_image(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return headers.kind(file.read(32)) is not None
    except OSError:
        return False
