"""Names that are chosen from are those that are known to what they mean."""

from mec_tf import choices, objectives
from mec_tf.augment import policy
from mec_tf.distribution import strategies
from mec_tf.evaluations import knn, metrics, suites
from mec_tf.formats import feature_file, loading
from mec_tf.models import backbones
from mec_tf.models.resnet import ARCHITECTURES


def test_choices_are_what_there_is():
    assert policy.PRESETS == choices.VIEWS
    assert set(ARCHITECTURES) == set(choices.BACKBONES)
    assert all(
        name.startswith(choices.KERAS) for name in backbones._APPLICATIONS
    )
    assert loading.NETWORKS == choices.NETWORKS
    assert set(objectives.OBJECTIVES) == set(choices.OBJECTIVES)
    assert strategies.STRATEGIES == choices.STRATEGIES
    assert strategies.ON_ONE_MACHINE == choices.STRATEGIES_OF_ONE_MACHINE
    assert set(suites.SUITES) == set(choices.SUITES)
    assert metrics.METRICS == choices.METRICS
    assert knn.METRICS == choices.KNN_METRICS
    assert feature_file.SUFFIXES == choices.FEATURE_SUFFIXES
