"""Half precision: what is learnt, what survives, what is handed on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import SMALL
from test_train import rows

from mec_tf.augment import photometric
from mec_tf.augment import policy as policies
from mec_tf.models import SiameseModel, heads
from mec_tf.models.batch_norm import BatchNormalization
from mec_tf.models.encoder import in_float32
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD, LossScale
from mec_tf.training.callbacks.stop_on_divergence import StopOnDivergence
from mec_tf.training.checkpoint import Checkpoints

HALVES = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
SIZE = 8


@pytest.fixture
def policy():
    """Sets the precision of a test, and the usual one after it."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


def small_backbone():
    images = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(5, 3, use_bias=False)(images)
    x = keras.layers.ReLU()(BatchNormalization()(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def model_of(precision):
    keras.utils.set_random_seed(0)
    seen = []

    class Seen(MEC):
        def call(self, embeddings, **options):
            seen.extend(z.dtype for z in embeddings.online + embeddings.target)
            loss, logged = super().call(embeddings, **options)
            seen.append(loss.dtype)
            return loss, logged

    model = SiameseModel(
        small_backbone(),
        heads.build_projector(5, dim=16, layers=2),
        heads.build_predictor(16, hidden_dim=8),
        policy=policies.preset("none", image_size=SIZE),
        objective=Seen(0.5),
        ema_momentum=lambda step: 0.9,
    )
    optimizer = SGD(0.05)
    if precision == "mixed_float16":
        optimizer = LossScale(optimizer)
    optimizer.build(model.learned)
    model.compile(optimizer=optimizer, jit_compile=False)
    return model, seen


def batches(seed=0, n=16):
    generator = np.random.default_rng(seed)
    one = {
        "views": tuple(
            tf.constant(
                generator.integers(0, 256, (n, SIZE, SIZE, 3)), tf.uint8
            )
            for _ in range(2)
        ),
        "draws": (tf.zeros([n, photometric.NUM_DRAWS]),) * 2,
        "index": tf.range(n, dtype=tf.int64),
    }
    return tf.data.Dataset.from_tensors(one).repeat()


def fit(model, steps):
    logs = model.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0)
    return logs.history["loss"][0]


@pytest.mark.parametrize("precision", HALVES)
def test_networks_compute_in_half_and_all_else_in_float32(precision, policy):
    policy(precision)
    model, seen = model_of(precision)
    loss = fit(model, 2)
    assert set(seen[:4]) == {tf.as_dtype(HALVES[precision])}
    assert seen[4] == tf.float32
    assert all(v.dtype == "float32" for v in model.learned)
    statistics = [
        v
        for layer in model.online._flatten_layers()
        if isinstance(layer, BatchNormalization)
        for v in layer.non_trainable_variables
    ]
    assert statistics
    assert all(v.dtype == "float32" for v in statistics)
    policy("float32")
    exact, _ = model_of("float32")
    assert loss == pytest.approx(fit(exact, 2), abs=0.02)


def test_float16_survives_an_injected_overflow(policy):
    policy("mixed_float16")
    model, _ = model_of("mixed_float16")
    fit(model, 1)
    before = [v.numpy() for v in model.learned]
    # The largest float16 is 65504.
    model.optimizer.dynamic_scale.assign(2.0**40)
    loss = fit(model, 1)
    assert np.isfinite(loss)
    for variable, value in zip(model.learned, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    assert float(model.optimizer.dynamic_scale) == 2.0**39
    fit(model, 38)
    assert model.steps_taken == 40
    assert float(model.optimizer.dynamic_scale) < 2.0**30
    assert all(np.all(np.isfinite(v)) for v in model.variables)
    assert fit(model, 3) < loss


def test_a_forward_overflow_ends_the_run(policy):
    # The step is skipped, but batch norm does not forget what it saw.
    policy("mixed_float16")
    model, _ = model_of("mixed_float16")
    fit(model, 1)
    kernel = next(v for v in model.learned if len(v.shape) == 4)
    kernel.assign(1e6 * kernel)
    before = [v.numpy() for v in model.learned]
    with pytest.raises(FloatingPointError, match="at step 2.*mixed_bfloat16"):
        model.fit(
            batches(),
            steps_per_epoch=9,
            callbacks=[StopOnDivergence(remedy="lower it")],
            shuffle=False,
            verbose=0,
        )
    for variable, value in zip(model.learned, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    statistics = model.online.non_trainable_variables
    assert not all(np.all(np.isfinite(v)) for v in statistics)


def test_the_loss_scale_resumes_to_the_bit(policy, tmp_path):
    policy("mixed_float16")

    def checkpoints(model):
        return Checkpoints(
            tmp_path, max_to_keep=1, model=model, optimizer=model.optimizer
        )

    whole, _ = model_of("mixed_float16")
    fit(whole, 1)
    whole.optimizer.dynamic_scale.assign(2.0**40)
    fit(whole, 2)
    checkpoints(whole).save(3)
    fit(whole, 20)

    resumed, _ = model_of("mixed_float16")
    assert checkpoints(resumed).restore() == (3, [])
    assert float(resumed.optimizer.dynamic_scale) == 2.0**38
    fit(resumed, 20)
    for model in (whole, resumed):
        assert model.steps_taken == 23
    for one, other in zip(
        [*whole.variables, *whole.optimizer.variables],
        [*resumed.variables, *resumed.optimizer.variables],
        strict=True,
    ):
        np.testing.assert_array_equal(one, other, err_msg=one.path)


@pytest.mark.parametrize("precision", HALVES)
def test_what_is_handed_on_computes_in_float32(precision, policy, tmp_path):
    policy(precision)
    model, _ = model_of(precision)
    fit(model, 2)
    images = np.random.default_rng(0).random((3, 9, 11, 3), np.float32)
    handed_on = in_float32(model.encoder)
    handed_on.save(tmp_path / "encoder.keras")
    policy("float32")
    exact, _ = model_of("float32")
    exact.encoder.set_weights(model.encoder.get_weights())
    expected = exact.encoder(images).numpy()
    np.testing.assert_array_equal(handed_on(images), expected)
    read = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(read(images), expected)
    # Not those of half precision in a cast.
    half = np.asarray(model.encoder(images), np.float32)
    assert 0 < np.abs(half - expected).max() < 0.1


def test_a_run_exports_float32(run_main, tmp_path):
    flags = ("--precision=mixed_float16", "--steps=1", "--warmup_epochs=0")
    to = ("--workdir=run", "--export_dir=export")
    ended = run_main("train", *SMALL, *flags, *to, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert np.isfinite(float(rows(tmp_path / "run")[-1]["rankme"]))
    saved = tf.saved_model.load(str(tmp_path / "export"))
    serve = saved.signatures["serving_default"]
    images = tf.random.stateless_uniform([2, 9, 11, 3], [1, 2])
    assert serve(images=images)["features"].dtype == tf.float32
    kinds = {
        output.dtype
        for operation in serve.graph.get_operations()
        for output in operation.outputs
    }
    assert not kinds & {tf.float16, tf.bfloat16}
