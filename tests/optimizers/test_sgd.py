import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from mec_tf.optimizers import SGD

# PyTorch's optimizers import triton where it is installed, whose copy of LLVM
# crashes beside TensorFlow's.
sys.modules.setdefault("triton", None)
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay_low_rank", [True, False])
def test_follows_pytorch_over_several_steps(momentum, decay_low_rank):
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(4, 5)), rng.normal(size=3)]
    ours = [keras.Variable(start, dtype="float32") for start in starts]
    theirs = [torch.tensor(s, dtype=torch.float64) for s in starts]
    optimizer = SGD(
        0.1,
        momentum=momentum,
        weight_decay=0.3,
        decay_low_rank=decay_low_rank,
    )
    vector_decay = 0.3 if decay_low_rank else 0.0
    reference = torch.optim.SGD(
        [
            {"params": theirs[:1], "weight_decay": 0.3},
            {"params": theirs[1:], "weight_decay": vector_decay},
        ],
        lr=0.1,
        momentum=momentum,
    )
    for rate in (0.1, 0.1, 0.5, 0.02, 0.02):
        # Were the rate inside the momentum, its change would tell.
        optimizer.learning_rate = rate
        gradients = [rng.normal(size=start.shape) for start in starts]
        for group in reference.param_groups:
            group["lr"] = rate
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        reference.step()
        optimizer.apply([tf.constant(g, tf.float32) for g in gradients], ours)
        for our, their in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(our, their, rtol=1e-5, atol=1e-5)


def test_survives_serialisation():
    optimizer = SGD(0.3, weight_decay=1e-5, decay_low_rank=False)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy, SGD)
    assert copy.get_config() == optimizer.get_config()
    assert copy.get_config()["weight_decay"] == 1e-5


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"weight_decay": -0.1}])
def test_constants_out_of_range_are_an_error(wrong):
    with pytest.raises(ValueError, match=f"Received {next(iter(wrong))}"):
        SGD(0.1, **wrong)
