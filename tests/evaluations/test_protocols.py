"""What protocols declare is there, and what they are asked for is used."""

import dataclasses

import pytest

from mec_tf import choices
from mec_tf.config import EvaluateConfig
from mec_tf.evaluations import protocols

SETTINGS = {field.name for field in dataclasses.fields(EvaluateConfig)}


def config(protocol, **changes):
    if protocol == "features":
        changes["output"] = "features.npy"
    return EvaluateConfig(encoder="pixels", protocol=protocol, **changes)


@pytest.mark.parametrize("name", choices.PROTOCOLS)
def test_a_protocol_declares_settings_that_there_are(name):
    protocol = protocols.find(name)
    assert protocols.COMMON | protocol.settings <= SETTINGS
    assert not protocols.COMMON & protocol.settings
    assert protocol.defaults.keys() <= protocol.settings
    assert callable(protocol.run)
    resolved = protocols.resolve(config(name))
    assert all(getattr(resolved, key) is not None for key in protocol.defaults)
    # Nothing is complained of that nobody gave.
    assert protocols.without_effect(resolved) == []


def test_every_setting_is_some_protocol_s():
    heeded = set(protocols.COMMON)
    for name in choices.PROTOCOLS:
        heeded |= protocols.find(name).settings
    assert heeded == SETTINGS


def test_who_trains_has_a_workdir_s_settings_and_weights_are_for_training():
    for name in choices.PROTOCOLS:
        protocol = protocols.find(name)
        assert protocol.trains == (protocol.settings >= protocols.TRAINING)
        assert protocol.trains or not protocol.needs_weights
        scores_labels = protocol.score is not None
        assert protocol.needs_labels == scores_labels
    assert protocols.find("finetune").needs_weights
    assert protocols.find("features").output_check


@pytest.mark.parametrize("by", choices.CLASSIFIER_PROTOCOLS)
def test_a_transfer_is_as_its_protocol_on_each_set(by):
    alone = protocols.resolve(config(by, batch_size=7, base_lr=0.25))
    sets = protocols.resolve(
        config("transfer", transfer_by=by, batch_size=7, base_lr=0.25)
    )
    for name in protocols.find(by).defaults:
        assert getattr(alone, name) == getattr(sets, name)
    if by == "finetune":
        assert (sets.batch_size, sets.head_lr) == (7, (0.25,))


def test_what_has_no_effect():
    given = {"validation_fraction": 0.3, "epochs": 3, "knn_k": 5, "sets": "a"}
    assert protocols.without_effect(config("knn", **given)) == [
        "epochs",
        "sets",
        "validation_fraction",
    ]
    linear = config("transfer", transfer_by="linear", **given)
    assert protocols.without_effect(linear) == ["knn_k"]
