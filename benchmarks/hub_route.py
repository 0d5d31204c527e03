"""A route of `benchmarks.routes`: tensorflow-hub, in whatever environment.

Stands alone: run by a Python that knows nothing of this package.

    python hub_route.py EXPORT     reads images.npy, writes hub.npy beside it
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub

layer = hub.KerasLayer(sys.argv[1])
np.save("hub.npy", layer(np.load("images.npy")))
print(f"TensorFlow {tf.__version__}")
