"""Which folders tell images apart."""

import numpy as np
import pytest

from mec_tf.data.sources.folder import classes


@pytest.mark.parametrize(
    ("paths", "names", "labels"),
    [
        (["a/0", "a/1", "b/0"], ("a", "b"), [0, 0, 1]),
        (["x/a/0", "x/b/c/0"], ("a", "b"), [0, 1]),
        (
            ["x/a/0", "x/a/1", "x/b/0", "x/b/1", "0"],
            ("a", "b"),
            [0, 0, 1, 1, -1],
        ),
        (["x/a/0", "x/a/1", "x/b/0", "x/0"], ("a", "b"), [0, 0, 1, -1]),
        (["a/0", "a/1"], (), None),
        (["0", "1", "a/0"], (), None),
        (["0", "1", "a/0", "b/0"], (), None),
    ],
)
def test_classes_and_strays(paths, names, labels):
    found = classes.find_classes(paths)
    assert found.names == names
    np.testing.assert_array_equal(found.labels, labels)


def test_one_folder_is_a_class_where_it_is_known():
    assert classes.find_classes(["a/b/0", "a/c/0"]).names == ("b", "c")
    assert classes.find_classes(["a/b/0", "a/c/0"], ("a", "d")).names == ("a",)
