"""A route of `benchmarks.fine_tuning`: `tensorflow_hub.KerasLayer`.

Stands alone: run by a Python that knows nothing of this package.

    python hub_fine_tuning.py EXPORT DIGITS.npz SEEDS EPOCHS
"""

import json
import sys

import numpy as np
import tensorflow as tf
import tensorflow_hub as hub
from fine_tuning_loop import accuracies


def by_hub(export):
    """The layer, and what of it learns."""
    layer = hub.KerasLayer(export, trainable=True)
    return (
        lambda x, training: layer(x, training=training),
        layer.trainable_variables,
    )


export, digits, seeds, epochs = sys.argv[1:]
found = accuracies(
    by_hub,
    export,
    dict(np.load(digits)),
    seeds=int(seeds),
    epochs=int(epochs),
)
print(json.dumps([tf.__version__, found]))
