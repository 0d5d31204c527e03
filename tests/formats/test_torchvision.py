import copy
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.datasets import load_sample_image

from mec_tf.formats.torchvision import load_state_dict, to_state_dict
from mec_tf.models import build_backbone
from mec_tf.optimizers import SGD

# PyTorch's optimizers import triton where it is installed, whose copy of LLVM
# crashes beside TensorFlow's.
sys.modules.setdefault("triton", None)
torch = pytest.importorskip("torch")


def build_reference(torchvision, name, rng):
    """torchvision's network with random weights and statistics."""
    network = torchvision.models.get_model(name)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        for tensor_name, tensor in network.state_dict().items():
            if tensor_name.endswith("running_var"):
                values = rng.uniform(0.5, 2.0, tensor.shape)
            elif tensor.ndim == 4:
                fan_out = tensor.shape[0] * tensor[0, 0].numel()
                values = rng.normal(0, np.sqrt(2 / fan_out), tensor.shape)
            elif tensor_name.endswith("weight"):
                values = rng.uniform(0.2, 1.0, tensor.shape)
            else:
                values = rng.normal(0, 0.2, tensor.shape)
            tensor.copy_(torch.tensor(values))
    return network


def relative_error(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


def as_state_dict(holder, gradients):
    """Gradients under PyTorch's names, through a network that holds them."""
    for parameter, gradient in zip(
        holder.trainable_variables, gradients, strict=True
    ):
        parameter.assign(gradient)
    return to_state_dict(holder)


def as_torch(images):
    return torch.tensor(images.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_features_equal_torchvision(torchvision, name):
    rng = np.random.default_rng(0)
    reference = build_reference(torchvision, name, rng).eval()
    backbone = build_backbone(name)
    load_state_dict(backbone, reference.state_dict())
    photo = (load_sample_image("china.jpg") / 255.0 - 0.45) / 0.225
    for h, w in [(224, 224), (97, 131)]:
        noise = rng.normal(size=(h, w, 3))
        images = np.stack([noise, photo[:h, :w]]).astype(np.float32)
        with torch.no_grad():
            expected = reference(as_torch(images))
        assert relative_error(backbone(images), expected) < 1e-4
        worst = np.abs(backbone(images) - expected.numpy()).max()
        assert worst < 1e-4 * expected.abs().max()


def keep_off_the_kinks(network, rng):
    """Moves every ReLU's input far from zero, to one side per channel.

    Otherwise rounding flips a few ReLUs, and PyTorch's own gradients in float32
    and in float64 differ by a percent.
    """
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("bias"):
                tensor += 6.0
            if name.endswith("bn1.bias"):
                tensor *= torch.tensor(rng.choice([-1.0, 1.0], tensor.shape))


def gradients_of(network, images, weights):
    """Features and the gradients of their weighted sum, by parameter."""
    network.zero_grad()
    dtype = next(network.parameters()).dtype
    features = network(as_torch(images).to(dtype))
    (torch.tensor(weights) * features).sum().backward()
    return features.detach(), {
        name: parameter.grad.numpy()
        for name, parameter in network.named_parameters()
    }


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", (64, 49)), ("resnet50", (64, 64))]
)
def test_training_equals_torchvision(torchvision, name, size):
    """Features, weights, statistics within 1e-4; gradients but for rounding.

    Float32 is too short for 1e-4 in each parameter's gradient, in PyTorch too,
    so PyTorch in float64 is the judge of both. All parameters taken together,
    ours was off by 6e-5 (ResNet-18) and 9e-5 (ResNet-50), PyTorch's by 4e-5 and
    8e-5; by parameter ours was off by 0.95 and 0.99 times as much as PyTorch's
    in the median, 1.9 times at most.
    """
    rng = np.random.default_rng(1)
    reference = build_reference(torchvision, name, rng).train()
    keep_off_the_kinks(reference, rng)
    backbone = build_backbone(name)
    load_state_dict(backbone, reference.state_dict())
    holder = keras.models.clone_model(backbone)
    ours = SGD(0.01, weight_decay=1e-4)
    theirs = torch.optim.SGD(
        reference.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4
    )
    d = backbone.output_shape[-1]
    for step in range(3):
        images = rng.normal(size=(8, *size, 3)).astype(np.float32)
        weights = rng.normal(size=(8, d)).astype(np.float32) / d

        with tf.GradientTape() as tape:
            features = backbone(images, training=True)
            loss = tf.reduce_sum(weights * features)
        gradients = tape.gradient(loss, backbone.trainable_variables)
        our_gradients = as_state_dict(holder, gradients)
        expected, their_gradients = gradients_of(reference, images, weights)

        assert relative_error(features, expected) < 1e-4
        # Where the next batch norm undoes a shift its gradient is rounding.
        rounding = 1e-6 * max(map(np.linalg.norm, their_gradients.values()))
        for key, gradient in their_gradients.items():
            error = np.linalg.norm(our_gradients[key] - gradient)
            assert error < 1e-3 * np.linalg.norm(gradient) + rounding, key
        if step == 0:  # later, the weights differ by rounding, too
            exact = copy.deepcopy(reference).double()
            _, gradients_64 = gradients_of(exact, images, weights)
            our_errors, their_errors = (
                {
                    key: np.linalg.norm(given[key] - gradient)
                    for key, gradient in gradients_64.items()
                }
                for given in (our_gradients, their_gradients)
            )
            our_total, their_total = (
                np.linalg.norm(list(errors.values()))
                for errors in (our_errors, their_errors)
            )
            assert our_total < 2 * their_total
            for key, gradient in gradients_64.items():
                bound = 1e-4 * np.linalg.norm(gradient) + rounding
                assert our_errors[key] < max(bound, 3 * their_errors[key]), key

        ours.apply(gradients, backbone.trainable_variables)
        theirs.step()

    state_dict = reference.state_dict()
    for key, array in to_state_dict(backbone).items():
        if not key.endswith("num_batches_tracked"):
            assert relative_error(array, state_dict[key]) < 1e-4, key


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_there_and_back_is_bit_identical(torchvision, name):
    rng = np.random.default_rng(2)
    reference = build_reference(torchvision, name, rng)
    backbone = build_backbone(name)
    load_state_dict(backbone, reference.state_dict())
    back = to_state_dict(backbone)
    assert back.keys() == reference.state_dict().keys()
    for key, tensor in reference.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert back[key].tobytes() == tensor.numpy().tobytes(), key
    reference.load_state_dict({k: torch.tensor(a) for k, a in back.items()})


def test_unfit_state_dicts_name_the_keys_and_change_nothing():
    backbone = build_backbone("resnet_tiny")
    before = backbone.get_weights()
    state_dict = to_state_dict(backbone)
    state_dict["fc.weight"] = np.zeros((10, 256), np.float32)
    load_state_dict(backbone, state_dict)

    state_dict["bn7.weight"] = np.zeros(3, np.float32)
    state_dict["conv1.weight"] = np.zeros((16, 3, 7, 7), np.float32)
    del state_dict["layer2.0.bn1.bias"]
    with pytest.raises(ValueError, match="does not fit 'resnet_tiny'") as error:
        load_state_dict(backbone, state_dict)
    for complaint in (
        "unexpected bn7.weight",
        "missing layer2.0.bn1.bias",
        "conv1.weight of shape (16, 3, 7, 7) instead of (16, 3, 3, 3)",
    ):
        assert complaint in str(error.value)
    for weight, expected in zip(backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_other_networks_are_an_error():
    with pytest.raises(ValueError, match="'bn_Conv1' of type BatchNorm"):
        to_state_dict(build_backbone("keras:MobileNetV2"))
