"""Splits that lie inside classes."""

import pytest

from mec_tf.data.sources.folder import roles
from mec_tf.errors import UserError


def test_splits_inside_classes_are_refused():
    with pytest.raises(UserError, match="photos/cat"):
        roles.require_no_splits_below(
            ["photos/cat", "photos/cat/Train", "photos/cat/val"], "photos"
        )
    roles.require_no_splits_below(
        ["photos/train", "photos/cat", "photos/cat/test"], "photos"
    )
