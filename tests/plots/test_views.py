"""The picture of views is a readable PNG with a cell per image and view."""

import matplotlib.image
import numpy as np
import pytest

from mec_tf.augment.policy import preset
from mec_tf.data import sources
from mec_tf.plots import views


@pytest.fixture(scope="module")
def digits():
    return sources.load("digits").pretrain


def test_writes_a_picture_and_nothing_else(digits, tmp_path):
    path = tmp_path / "views.png"
    policy = preset("digits", image_size=16, local_crops=1, local_size=8)
    views.draw_views(digits, policy, str(path), samples=4)
    picture = matplotlib.image.imread(path)
    height, width = picture.shape[:2]
    # Three views high, four images wide.
    assert width > height > 300
    assert list(tmp_path.iterdir()) == [path]
    # Digits and their black ground are there, not an empty page.
    assert np.mean(picture[..., :3].max(axis=2) < 0.1) > 0.2


def test_shows_the_views_that_the_seed_makes(digits, tmp_path):
    policy = preset("digits", image_size=16)
    pictures = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        path = tmp_path / f"{name}.png"
        views.draw_views(digits, policy, str(path), samples=2, seed=seed)
        pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2]
