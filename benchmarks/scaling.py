"""What N replicas tell one another in a step, and what it costs: a model.

    python -m benchmarks.scaling

prints the bytes that each replica sends in a step, and how much of N devices'
speed is left. Nothing here is measured but where it says so; how far the model
holds for two processes, `python -m tests.drills.two_workers` shows.
"""

import argparse
import math
from typing import NamedTuple

from mec_tf.models import build_backbone, heads
from mec_tf.models.batch_norm import TOGETHER, BatchNormalization
from mec_tf.objectives import spectral_norm

REPLICAS = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
BYTES = 4  # all that travels is float32


class Collective(NamedTuple):
    """One kind of exchange in a step.

    Attributes:
        what: Its name.
        calls: How often, one after the other.
        numbers: float32 numbers that each replica puts in, of all calls.
        gathers: Whether they are concatenated; otherwise they are added up.
    """

    what: str
    calls: int
    numbers: int
    gathers: bool = False

    def sent(self, replicas):
        """Bytes that each replica sends, on a ring of this many."""
        rounds = replicas - 1
        if not self.gathers:
            rounds *= 2 / replicas
        return BYTES * self.numbers * rounds


def collectives(
    *, backbone, projector, predictor, rows, replicas, form="auto", target=True
):
    """The exchanges of a step with two views.

    Args:
        backbone: `keras.Model` of the model that trains.
        projector: Likewise; its output is `[n, d]`.
        predictor: Likewise, or None.
        rows: Embeddings per view on each replica.
        replicas: Number of replicas, N.
        form: `auto`, `batch` or `feature`: the side of the objective.
        target: Whether there is a target network.

    Returns:
        List of `Collective`.
    """
    d = projector.output_shape[-1]
    m = rows * replicas
    views = 2
    pairs = 2 if target or predictor else 1
    online = [
        *_channels(backbone),
        *_channels(projector),
        *(_channels(predictor) if predictor else []),
    ]
    followed = [*_channels(backbone), *_channels(projector)] if target else []
    forward = views * (online + followed)
    parts = [backbone, projector, *([predictor] if predictor else [])]
    parameters = sum(
        math.prod(v.shape) for part in parts for v in part.trainable_variables
    )
    if form == "auto":
        form = "batch" if m <= d else "feature"
    objective = {
        # Rows and their lengths, of all views at once; TensorFlow gathers the
        # shapes first.
        "batch": Collective(
            "objective",
            2,
            pairs * 2 * (d + 1) * rows + 2,
            gathers=True,
        ),
        "feature": Collective("objective", pairs, pairs * d * d),
    }[form]
    guard = 2 * spectral_norm.POWER_ITERATIONS
    together = replicas <= TOGETHER
    return [
        Collective("gradients", 1, parameters),
        Collective(
            "batch norm, forward",
            len(forward) * (1 if together else 2),
            (replicas if together else 1) * sum(2 * c + 1 for c in forward),
        ),
        Collective(
            "batch norm, backward",
            views * len(online),
            views * sum(2 * c for c in online),
        ),
        objective,
        Collective("guard", guard, guard * pairs * d * spectral_norm.TRIALS),
    ]


def _channels(model):
    return [
        layer.moving_mean.shape[0]
        for layer in model.layers
        if isinstance(layer, BatchNormalization)
    ]


class Network(NamedTuple):
    """What the exchanges run over; assumptions, not measurements.

    Attributes:
        node: Devices in a machine.
        inside: Bytes per second between two devices of a machine.
        between: Bytes per second between two machines, for all their devices.
        latency: Seconds of a collective without content in one machine.
        hop: Seconds that each doubling of the number of machines adds to it.
    """

    node: int
    inside: float
    between: float
    latency: float
    hop: float

    def seconds(self, exchanges, replicas):
        """Time of a step's exchanges; none is hidden behind arithmetic."""
        if replicas == 1:
            return 0.0
        machines = max(1, replicas / self.node)
        speed = self.inside if machines == 1 else min(self.inside, self.between)
        latency = self.latency + self.hop * math.log2(machines)
        calls = sum(exchange.calls for exchange in exchanges)
        sent = sum(exchange.sent(replicas) for exchange in exchanges)
        return calls * latency + sent / speed


def _resnet50():
    backbone = build_backbone("resnet50")
    return {
        "backbone": backbone,
        "projector": heads.build_projector(2048, dim=2048, layers=3),
        "predictor": heads.build_predictor(2048, hidden_dim=512),
    }


def _megabytes(count):
    return f"{count / 1e6:,.1f}"


def _print_bytes(model):
    print(
        "MB that each replica sends in a step (ResNet-50, d = 2048, two views,"
        " 128 images per replica)\n"
    )
    print(
        "| N | m | gradients | batch norm | guard | objective, batch-wise"
        " | objective, feature-wise | chosen |"
    )
    print("|" + "---:|" * 7 + "---|")
    for replicas in REPLICAS[1:]:
        forms = {
            form: collectives(**model, rows=128, replicas=replicas, form=form)
            for form in ("batch", "feature")
        }
        sent = {
            form: {e.what: e.sent(replicas) for e in exchanges}
            for form, exchanges in forms.items()
        }
        shared = sent["batch"]
        norm = shared["batch norm, forward"] + shared["batch norm, backward"]
        cells = [
            shared["gradients"],
            norm,
            shared["guard"],
            shared["objective"],
            sent["feature"]["objective"],
        ]
        chosen = "batch" if 128 * replicas <= 2048 else "feature"
        print(
            f"| {replicas} | {128 * replicas:,} | "
            + " | ".join(_megabytes(cell) for cell in cells)
            + f" | {chosen} |"
        )


def _print_efficiency(model, network, rate):
    print(
        "\nShare of N times one device's speed (modelled): 128 images per"
        " replica, and 4,096 images over all\n"
    )
    print(
        "| N | calls | exchange, ms | step, ms | efficiency"
        " | efficiency, m = 4,096 |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for replicas in REPLICAS:
        cells = []
        for rows in (128, 4096 // replicas):
            exchanges = collectives(**model, rows=rows, replicas=replicas)
            calls = sum(e.calls for e in exchanges) if replicas > 1 else 0
            waits = network.seconds(exchanges, replicas)
            cells.append((calls, waits, rows / rate))
        (calls, waits, works), (_, waits_4096, works_4096) = cells
        print(
            f"| {replicas:,} | {calls} | {1e3 * waits:.1f}"
            f" | {1e3 * (waits + works):.0f}"
            f" | {works / (waits + works):.1%}"
            f" | {works_4096 / (waits_4096 + works_4096):.1%} |"
        )


def main(argv=None):
    """Runs the command of this module.

    Args:
        argv: The arguments of the command; those of the process by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=106,
        help="images per second of one device alone (paper: 8 V100 take 42 h"
        " for 100 epochs of ImageNet)",
    )
    parser.add_argument("--node", type=int, default=8, help="devices in one")
    parser.add_argument(
        "--inside", type=float, default=100, help="GB/s in a machine"
    )
    parser.add_argument(
        "--between", type=float, default=12.5, help="GB/s between machines"
    )
    parser.add_argument(
        "--latency", type=float, default=30, help="us of a collective"
    )
    parser.add_argument(
        "--hop", type=float, default=10, help="us per doubling of machines"
    )
    given = parser.parse_args(argv)
    network = Network(
        node=given.node,
        inside=1e9 * given.inside,
        between=1e9 * given.between,
        latency=1e-6 * given.latency,
        hop=1e-6 * given.hop,
    )
    model = _resnet50()
    _print_bytes(model)
    _print_efficiency(model, network, given.rate)


if __name__ == "__main__":
    main()
