"""The MEC training step in PyTorch, to measure ours against.

As a PyTorch user would write it: torchvision's residual network in channels-
last order, Algorithm 1 of the paper under autodiff, an EMA target, SGD. It runs
in a process of its own, which takes one step for each line that it reads and
answers with the loss:

    python -m benchmarks.torch_step --backbone=resnet50 --size=128
"""

import argparse
import collections
import copy
import sys

import torch
from torch import nn
from torch.nn import functional

from benchmarks.torchvision_on_cpu import import_torchvision

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ORDER = 4


class Step:
    """Both networks, and one step at a time.

    Args:
        backbone: Name of a residual network of torchvision.
        dim: Dimension of the embeddings.
        layers: Layers of the projector.
        hidden_dim: Hidden dimension of the predictor.
        distortion: epsilon_d squared.
        rate: Learning rate.
        momentum: Momentum of the target network.
    """

    def __init__(
        self,
        backbone,
        *,
        dim=2048,
        layers=3,
        hidden_dim=512,
        distortion=0.06,
        rate=0.05,
        momentum=0.996,
    ):
        network = import_torchvision().models.get_model(
            backbone, zero_init_residual=True
        )
        features = network.fc.in_features
        network.fc = nn.Identity()
        widths = [features] + layers * [dim]
        projector = collections.OrderedDict()
        for k in range(1, layers + 1):
            last = k == layers
            projector[f"linear{k}"] = nn.Linear(widths[k - 1], dim, bias=False)
            projector[f"bn{k}"] = nn.BatchNorm1d(dim, affine=not last)
            if not last:
                projector[f"relu{k}"] = nn.ReLU()
        predictor = collections.OrderedDict(
            linear1=nn.Linear(dim, hidden_dim, bias=False),
            bn1=nn.BatchNorm1d(hidden_dim),
            relu1=nn.ReLU(),
            linear2=nn.Linear(hidden_dim, dim),
        )
        self.online = nn.Sequential(network, nn.Sequential(projector))
        self.online.to(memory_format=torch.channels_last)
        self.predictor = nn.Sequential(predictor)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.learned = [*self.online.parameters(), *self.predictor.parameters()]
        self.optimizer = torch.optim.SGD(
            self.learned, rate, momentum=0.9, weight_decay=1e-5
        )
        self.distortion = distortion
        self.momentum = momentum

    def __call__(self, images):
        """Takes a step; returns the loss.

        Args:
            images: Two uint8 tensors `[n, s, s, 3]`, the views.
        """
        views = [_normalized(view) for view in images]
        online = [self.predictor(self.online(view)) for view in views]
        with torch.no_grad():
            target = [self.target(view) for view in views]
        loss = (
            algorithm_1(online[0], target[1], self.distortion)
            + algorithm_1(online[1], target[0], self.distortion)
        ) / 2
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            for average, parameter in zip(
                self.target.parameters(), self.online.parameters(), strict=True
            ):
                average.lerp_(parameter, 1 - self.momentum)
        return loss.item()


def _normalized(images):
    """uint8 `[n, s, s, 3]` to float32 `[n, 3, s, s]`, channels last."""
    images = images.permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(values).reshape(3, 1, 1) for values in (MEAN, STD)
    )
    return (images - mean) / std


def algorithm_1(z1, z2, distortion):
    """The loss as the paper writes it down, on the scale of `mec_loss`."""
    z1, z2 = functional.normalize(z1), functional.normalize(z2)
    c = z1 @ z2.T / (len(z1) * distortion)
    power, total = c, torch.zeros_like(c)
    for k in range(1, ORDER + 1):
        if k > 1:
            power = power @ c
        total = total + power / k if k % 2 else total - power / k
    return -distortion * torch.trace(total)


def main(argv=None):
    """Takes steps on random images until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_step")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    step = Step(arguments.backbone)
    shape = [arguments.batch, arguments.size, arguments.size, 3]
    images = [torch.randint(256, shape, dtype=torch.uint8) for _ in range(2)]
    for _ in sys.stdin:
        print(step(images), flush=True)


if __name__ == "__main__":
    main()
