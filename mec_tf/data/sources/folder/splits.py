"""Which subfolders are splits.

Whatever is not plain is said; whatever has two meanings is refused by name, as
a test image that is trained on shows in no number.
"""

import collections
import dataclasses
import os

from mec_tf.data.file_names import printable
from mec_tf.data.sources.folder import suffixes, tree
from mec_tf.data.sources.folder.roles import ROLES
from mec_tf.errors import UserError

# Defaults of the flags: any usual name of the split is accepted.
_ANY_TRAIN, _ANY_TEST = "train", "test"


@dataclasses.dataclass(frozen=True)
class Splits:
    """The folders of a data set's splits.

    Attributes:
        train: path of a folder.
        test: path of a folder, or None.
        is_given: whether the folder to learn from was given by name.
        loose: paths of image files that lie beside the splits.
        notes: lines that say what was understood.
    """

    train: str
    test: str | None = None
    is_given: bool = False
    loose: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def find_splits(data_dir, train_split, test_split):
    """Finds the folders to learn from and to test on.

    Names that were given decide. Else train or training, in whatever case, is
    learnt from; test or testing, or without them val, valid or validation, is
    tested on; they may lie in a folder of their own. Without any of them all of
    the folder is learnt from.

    Args:
        data_dir: path of a folder.
        train_split: subfolder to learn from; "train": whichever is called so. A
            slash at the end (`train/`) means this very one, `.` all of the
            folder.
        test_split: the same of the one to test on; "test": whichever.

    Returns:
        `Splits`.

    Raises:
        UserError: where a given name is no subfolder, or where the names of
            subfolders have two meanings.
    """
    train = test = None
    if train_split != _ANY_TRAIN:
        train = _given(data_dir, "train_split", train_split)
    if test_split != _ANY_TEST:
        test = _given(data_dir, "test_split", test_split)
    if not (train or test):
        return _unasked(data_dir)
    is_given, notes = train is not None, []
    if not (train and test):
        if train:
            test = _test_beside(data_dir, train)
        else:
            train = _train_beside(data_dir, test)
        notes = _understood(train, test, data_dir)
    _require_apart(train, test)
    return Splits(train, test, is_given, notes=tuple(notes))


def _given(data_dir, field, name):
    path = os.path.join(data_dir, name)
    if not os.path.isdir(path):
        raise UserError(
            f"`{field}`={printable(name)} is no folder in "
            f"{printable(data_dir)}, which holds "
            f"{printable(tree.contents(data_dir))}; name one that is"
        )
    return os.path.normpath(path)


def _require_apart(train, test):
    if test is None:
        return
    real = [os.path.realpath(path) for path in (train, test)]
    if os.path.commonpath(real) in real:
        raise UserError(
            f"the images to learn from ({printable(train)}) and to test on "
            f"({printable(test)}) lie in one another; give `train_split` and "
            "`test_split` folders that are apart"
        )


def _test_beside(data_dir, train):
    if os.path.normpath(data_dir) == train:
        return None
    here = _look(os.path.dirname(train) or ".")
    test, _ = _test_of(here, data_dir)
    return test


def _train_beside(data_dir, test):
    top = data_dir
    if os.path.normpath(data_dir) != test:
        top = os.path.dirname(test) or "."
    here = _look(top)
    return _one(here, "train", "train_split", data_dir) or _refuse_no_train(
        here, data_dir, os.path.relpath(test, data_dir)
    )


@dataclasses.dataclass(frozen=True)
class _Here:
    """A folder's subfolders by role (None: others), and its files: names."""

    path: str
    folders: dict
    files: list

    def join(self, name):
        return os.path.join(self.path, name)


def _look(path):
    names, files = tree.look(path)
    folders = collections.defaultdict(list)
    for name in names:
        folders[ROLES.get(name.lower())].append(name)
    return _Here(path, folders, files)


def _unasked(data_dir):
    levels = _unwrapped(data_dir)
    if not levels:
        return Splits(data_dir)
    here = levels[-1]
    train = _one(here, "train", "train_split", data_dir)
    test, unused = _test_of(here, data_dir)
    others = [
        name
        for name in here.folders[None]
        if tree.holds_images(here.join(name))
    ]
    if train is None:
        split = (here.folders["test"] or here.folders["validation"])[0]
        _refuse_no_train(here, data_dir, split)
    if test is None and others:
        raise UserError(
            f"{printable(train)} lies beside folders of images "
            f"({_listed(others)}): give `train_split`="
            f"{_asked(train, data_dir)} to learn from it alone, or "
            "`train_split`=. where it is a class like them"
        )
    notes = _understood(train, test, data_dir)
    if unused or others:
        notes.append(
            f"Not used, beside {printable(train)}: "
            f"{_listed([*unused, *others])}."
        )
    loose = [
        one.join(name)
        for one in levels
        for name in sorted(one.files, key=tree.natural)
        if suffixes.of(name) in suffixes.IMAGES
    ]
    return Splits(train, test, False, tuple(loose), tuple(notes))


def _understood(train, test, data_dir):
    """A line that says which folders they are, where that is not plain."""
    plain = [os.path.join(data_dir, name) for name in ("train", "test")]
    if train == plain[0] and test in (None, plain[1]):
        return []
    what = "no images to test on"
    if test is not None:
        what = f"testing on {printable(test)}"
    return [f"Learning from {printable(train)}, {what}."]


def _unwrapped(folder):
    """Folders down to one with splits, where each holds but one; or none."""
    levels, seen = [], set()
    while os.path.realpath(folder) not in seen:
        seen.add(os.path.realpath(folder))
        here = _look(folder)
        levels.append(here)
        if any(here.folders[role] for role in set(ROLES.values())):
            return levels
        inner = []
        for name in here.folders[None]:
            if tree.holds_images(here.join(name)):
                inner.append(name)
            if len(inner) > 1:
                return []
        if not inner:
            break
        folder = here.join(inner[0])
    return []


def _test_of(here, data_dir):
    """The (folder to test on, names of splits that are not used)."""
    test = _one(here, "test", "test_split", data_dir)
    if test is not None:
        return test, here.folders["validation"]
    return _one(here, "validation", "test_split", data_dir), []


def _one(here, role, field, data_dir):
    """The one subfolder of a role, or None."""
    names = here.folders[role]
    if len(names) > 1:  # an empty one is not meant
        names = [n for n in names if tree.holds_images(here.join(n))] or names
    if not names:
        return None
    if len(names) > 1:
        choice = " or ".join(
            f"`{field}`={_asked(here.join(name), data_dir)}" for name in names
        )
        raise UserError(
            f"{printable(here.path)} holds {printable(' and '.join(names))}, "
            f"which mean the same; say which with {choice}"
        )
    return here.join(names[0])


def _refuse_no_train(here, data_dir, split):
    raise UserError(
        f"{printable(here.path)} holds {printable(split)} but no folder called "
        "train or training, and test images are not to be trained on; name the "
        "folder to learn from with `train_split`, which is . where "
        f"{printable(split)} is a class"
    )


def _asked(path, data_dir):
    """How a flag names this very folder."""
    return printable(os.path.relpath(path, data_dir)) + "/"


def _listed(names):
    return tree.shortened([printable(name) for name in names])
