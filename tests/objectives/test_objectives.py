import pytest

from mec_tf import objectives
from mec_tf.objectives.mec import mec_loss


def test_mec_needs_neither_target_nor_predictor():
    objective = objectives.get("mec")
    assert objective.loss is mec_loss
    assert not objective.needs_target
    assert not objective.needs_predictor


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="'mce'; known are .*mec"):
        objectives.get("mce")
