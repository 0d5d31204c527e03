"""The model of what replicas exchange, against a ring that passes it on."""

import keras
import numpy as np
import pytest

from benchmarks import scaling
from mec_tf.models import heads
from mec_tf.models.batch_norm import BatchNormalization


def small_parts():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(6, 3, use_bias=False)(images)
    x = keras.layers.GlobalAveragePooling2D()(BatchNormalization()(x))
    return {
        "backbone": keras.Model(images, x),
        "projector": heads.build_projector(6, dim=12, layers=2),
        "predictor": None,
    }


def ring(blocks):
    """All-reduce of `[N, N, k]` by passing blocks on; numbers sent by each."""
    n, sent = len(blocks), 0
    for phase in range(2):
        for step in range(n - 1):
            passed = [
                blocks[r, (r + phase - step) % n].copy() for r in range(n)
            ]
            for r in range(n):
                target = blocks[(r + 1) % n, (r + phase - step) % n]
                target[:] = passed[r] + (target if phase == 0 else 0)
            sent += passed[0].size
    return sent


@pytest.mark.parametrize("replicas", [2, 3, 8])
def test_a_ring_sends_what_the_model_says(replicas):
    blocks = np.random.default_rng(0).normal(size=(replicas, replicas, 5))
    total = blocks.sum(0)
    sent = ring(blocks)
    np.testing.assert_allclose(blocks, np.broadcast_to(total, blocks.shape))
    exchange = scaling.Collective("", 1, replicas * 5)
    assert exchange.sent(replicas) == pytest.approx(scaling.BYTES * sent)


def test_the_chosen_form_is_the_one_that_moves_fewer_bytes():
    for rows in (1, 5, 6, 7, 40):
        exchanges = {
            form: next(
                e
                for e in scaling.collectives(
                    **small_parts(), rows=rows, replicas=2, form=form
                )
                if e.what == "objective"
            )
            for form in ("auto", "batch", "feature")
        }
        sent = {form: e.sent(2) for form, e in exchanges.items()}
        # Apart from shapes and lengths of rows, which are gathered too.
        more = 2 * (2 + 2 * rows) * scaling.BYTES
        assert sent["auto"] <= min(sent["batch"], sent["feature"]) + more


def test_alone_nothing_travels_and_more_machines_take_longer():
    network = scaling.Network(8, 1e11, 1e10, 3e-5, 1e-5)
    seconds = [
        network.seconds(
            scaling.collectives(**small_parts(), rows=4, replicas=n), n
        )
        for n in (1, 8, 16, 64)
    ]
    assert seconds[0] == 0
    assert seconds == sorted(seconds)


def test_many_replicas_exchange_statistics_twice_and_no_more_for_it():
    def forward(replicas):
        exchanges = scaling.collectives(
            **small_parts(), rows=4, replicas=replicas
        )
        return next(e for e in exchanges if e.what == "batch norm, forward")

    few, many, more = map(forward, (64, 128, 1024))
    assert many.calls == more.calls == 2 * few.calls
    assert many.numbers == more.numbers == few.numbers / 64


def test_the_printed_calls_are_those_of_the_printed_batch(capsys):
    # 16 x 128 images are batch-wise at d = 2048, where shapes are gathered,
    # too; 4,096 are feature-wise. Of one pair, which tells the two apart.
    model = small_parts() | {"target": False}
    model["projector"] = heads.build_projector(6, dim=2048, layers=1)
    calls, others = (
        sum(
            e.calls
            for e in scaling.collectives(**model, rows=rows, replicas=16)
        )
        for rows in (128, 256)
    )
    assert calls > others
    network = scaling.Network(8, 1e11, 1e10, 3e-5, 1e-5)
    scaling._print_efficiency(model, network, rate=100)
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("| 16 |"))
    assert line.split(" | ")[1] == str(calls)
