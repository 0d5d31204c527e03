import numpy as np
import pytest

from mec_tf.evaluations.rankme import rankme


def test_collapsed_embeddings_have_rank_one():
    rows = np.outer(np.arange(1, 51), np.ones(8))
    assert rankme(rows) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("rank", [2, 5, 8])
def test_equal_directions_count_fully(rank):
    rows = np.tile(np.eye(8)[:rank], (6, 1))
    assert rankme(rows) == pytest.approx(rank, rel=1e-4)


def test_scale_does_not_matter():
    rows = np.random.default_rng(0).normal(size=(40, 8))
    assert rankme(1000 * rows) == pytest.approx(rankme(rows), rel=1e-5)
