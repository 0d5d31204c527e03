"""How close the estimate of the guard comes to the true norm.

    python -m benchmarks.guard

prints, for several kinds of embeddings, the worst estimate of many start
vectors at several shapes, relative to the true norm. Below 0.91 the series
could leave its region of convergence although it is guarded.
"""

import argparse

import numpy as np
import tensorflow as tf

from mec_tf.objectives.mec import spectral_norm

SHAPES = ((64, 512), (512, 64), (256, 256), (256, 512), (512, 2048))


def spectra(m, d):
    """Pairs of views of many kinds.

    Args:
        m: samples.
        d: dimension.

    Returns:
        Dict from a name to two arrays `[m, d]`, float64.
    """
    random = np.random.default_rng(0)
    z, noise = random.normal(size=(2, m, d))
    mean, other = random.normal(size=(2, d))
    n = min(m, d)
    left = np.linalg.qr(random.normal(size=(m, n)))[0]
    right = np.linalg.qr(random.normal(size=(d, n)))[0]
    flat = left @ right.T
    low_rank = z[:, : n // 8] @ noise[: n // 8]
    decay = np.arange(1, d + 1) ** -0.5
    return {
        "collapsed": (mean + 0 * z, mean + 0 * z),
        "nearly collapsed": (mean + 0.01 * z, mean + 0.01 * noise),
        "a weak mean": (0.1 * mean + z, 0.1 * mean + noise),
        "random, unrelated": (z, noise),
        "random, one view": (z, z),
        "random, two views": (z, z + 0.5 * noise),
        "low rank": (low_rank, low_rank + 0.1 * noise),
        "decaying spectrum": (decay * z, decay * (z + 0.3 * noise)),
        "another mean per view": (mean + 0.5 * z, other + 0.5 * noise),
        "flat spectrum": (flat, flat),
    }


def worst_estimate(z1, z2, starts):
    """The lowest estimate of the norm, relative to the true one.

    Args:
        z1: embeddings of the first view, `[m, d]`, float64.
        z2: embeddings of the second view, like `z1`.
        starts: number of seeds to try, at least 1.

    Returns:
        At most 1, float.
    """

    @tf.function
    def estimate(seed):
        return spectral_norm(z1, z2, distortion=1.0, seed=seed)

    unit1, unit2 = (
        z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2)
    )
    norm = np.linalg.norm(unit1 @ unit2.T, 2) / len(z1)
    return min(
        float(estimate(tf.constant([k, 0]))) / norm for k in range(starts)
    )


def main(argv=None):
    """Runs the command of this module.

    Args:
        argv: the arguments of the command; those of the process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard")
    parser.add_argument("--starts", type=int, default=10, help="seeds of each")
    starts = parser.parse_args(argv).starts
    print(f"Worst of {starts} starts, relative to the true norm.\n")
    print("| |" + "".join(f" {m} x {d} |" for m, d in SHAPES))
    print("|---|" + "---:|" * len(SHAPES))
    by_shape = [spectra(m, d) for m, d in SHAPES]
    for kind in by_shape[0]:
        worst = [worst_estimate(*kinds[kind], starts) for kinds in by_shape]
        cells = "".join(f" {ratio:.3f} |" for ratio in worst)
        print(f"| {kind} |{cells}", flush=True)


if __name__ == "__main__":
    main()
