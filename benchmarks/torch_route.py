"""A route of `benchmarks.routes`: torchvision's network, without TensorFlow.

Stands alone: imports nothing of this package.

    python torch_route.py WEIGHTS BACKBONE   normalised.npy -> torch.npy
"""

import sys

import numpy as np
import torch

# Operators of torchvision's that a wheel for another build of torch lacks; the
# networks need none of them.
torch.library.register_fake = lambda *_, **__: lambda function: function
import torchvision  # noqa: E402

network = torchvision.models.get_model(sys.argv[2])
network.fc = torch.nn.Identity()
network.load_state_dict(torch.load(sys.argv[1], weights_only=True))
network.eval()
images = torch.from_numpy(np.float32(np.load("normalised.npy")))
with torch.no_grad():
    features = network(images.permute(0, 3, 1, 2))
np.save("torch.npy", features.numpy())
print(f"PyTorch {torch.__version__}")
