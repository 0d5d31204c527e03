r"""The MEC loss against Algorithm 1 of the paper: time, memory, accuracy.

    python -m benchmarks.loss

times value and gradient of one batch, in one run and in turns, for each number
of samples m and each dimension d, and compares the peaks of memory.

    python -m benchmarks.loss --figure6=error.png

prints and draws what Figure 6 of the paper shows: how far the series is from
the exact coding length, and how long each takes.

    python -m benchmarks.loss --rows=16384 --dims=2048 --rounds=1 \
        --seconds=900 --memory=

evaluates each once where Algorithm 1 takes minutes (and 16 GB).
"""

import argparse
import subprocess
import sys

import tensorflow as tf

from benchmarks.timing import interleaved, peak_bytes
from mec_tf.objectives.mec import coding_length, mec_loss, spectral_norm

DISTORTION = 0.06
ORDER = 4


def algorithm_1(z1, z2):
    """The loss as the paper writes it down, batch-wise, for autodiff.

    Args:
        z1: embeddings of the first view, `[m, d]`, floating.
        z2: embeddings of the second view, like `z1`.

    Returns:
        The loss, a scalar, on the scale of `mec_loss`.
    """
    z1, z2 = tf.math.l2_normalize(z1, 1), tf.math.l2_normalize(z2, 1)
    m = tf.cast(tf.shape(z1)[0], z1.dtype)
    c = tf.matmul(z1, z2, transpose_b=True) / (m * DISTORTION)
    power, total = c, tf.zeros_like(c)
    for k in range(1, ORDER + 1):
        if k > 1:
            power = tf.matmul(power, c)
        total = total + power / k if k % 2 else total - power / k
    return -DISTORTION * tf.linalg.trace(total)


def _ours(form, order=ORDER):
    return lambda z1, z2: mec_loss(
        z1, z2, distortion=DISTORTION, order=order, form=form
    )


LOSSES = {
    "algorithm 1": algorithm_1,
    "batch": _ours("batch"),
    "feature": _ours("feature"),
    "auto": _ours("auto"),
    "exact": _ours("auto", order=0),
}


def products(name, m, d):
    """Multiplications in the matrix products of a loss and its gradient.

    Args:
        name: a key of `LOSSES`.
        m: samples.
        d: dimension of the embeddings.

    Returns:
        Their number. For "exact", a factorisation and an inverse count as one
        product together, which is what they multiply.
    """
    if name == "algorithm 1":
        return 3 * m * m * d + 9 * m**3
    if name == "batch" or (name != "feature" and m <= d):
        return 3 * m * m * d + (1 if name == "exact" else 2) * m**3
    return 3 * m * d * d + (1 if name == "exact" else 2) * d**3


def _compiled(loss, z1, z2, jit):
    """A call for the value and both gradients, traced but not yet run."""

    @tf.function(jit_compile=jit)
    def value_and_gradients(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch([z1, z2])
            value = loss(z1, z2)
        return value, tape.gradient(value, [z1, z2])

    traced = value_and_gradients.get_concrete_function(z1, z2)
    return lambda: traced(z1, z2)


def _views(m, d, dtype=tf.float32):
    """Two noisy views of random embeddings, always the same ones."""
    z = tf.random.stateless_normal([m, d], [1, 2], dtype=dtype)
    noise = tf.random.stateless_normal([m, d], [3, 4], dtype=dtype)
    return z, z + noise


def _matmul_peak(device):
    """Multiplications per second of one large product, the best of three."""
    n = 8192 if device.startswith("GPU") else 2048
    a = tf.random.stateless_normal([n, n], [5, 6])
    product = tf.function(lambda: tf.matmul(a, a))
    best = min(interleaved({"": product}, 1)[""] for _ in range(3))
    return n**3 / best


def _print_times(arguments):
    peak = _matmul_peak(arguments.device)
    print(f"Matrix products at best: {2e-9 * peak:,.0f} GFLOP/s, float32.\n")
    print("Milliseconds for value and gradient, and the share of that peak.\n")
    print("| m | d |" + "".join(f" {name} |" for name in LOSSES), end="")
    print(" norm | algorithm 1 / auto |")
    print("|---:" * (len(LOSSES) + 4) + "|")
    for d in arguments.dims:
        for m in arguments.rows:
            _print_row(m, d, peak, arguments)


def _print_row(m, d, peak, arguments):
    z1, z2 = _views(m, d)
    calls = {
        name: _compiled(loss, z1, z2, arguments.jit)
        for name, loss in LOSSES.items()
        if products(name, m, d) < peak * arguments.seconds
    }
    norm = tf.function(
        lambda: spectral_norm(z1, z2, distortion=DISTORTION, seed=[7, 8]),
        jit_compile=arguments.jit,
    )
    times = interleaved(
        {**calls, "norm": norm}, arguments.rounds, 4 * arguments.seconds
    )
    cells = [f"{m}", f"{d}"]
    for name in LOSSES:
        if name in times:
            share = products(name, m, d) / times[name] / peak
            cells.append(f"{1e3 * times[name]:,.1f} ({share:.0%})")
        else:
            cells.append("-")
    cells.append(f"{1e3 * times['norm']:,.1f}")
    ratio = times.get("algorithm 1", 0) / times["auto"]
    cells.append(f"{ratio:.2f}" if ratio else "-")
    print("| " + " | ".join(cells) + " |", flush=True)


def _print_memory(arguments):
    print(
        "\nPeak of memory beyond the inputs, in MB; beyond their gradients too,"
    )
    print("in matrices of min(m, d) squared.\n")
    print("| m | d | algorithm 1 | auto | exact |\n" + "|---:" * 5 + "|")
    for m, d in arguments.memory:
        cells = [f"{m}", f"{d}"]
        for name in ("algorithm 1", "auto", "exact"):
            spent = _peak_in_fresh_process(name, m, d, arguments)
            small = (spent - 2 * 4 * m * d) / (4 * min(m, d) ** 2)
            cells.append(f"{spent / 2**20:,.0f} ({small:.1f})")
        print("| " + " | ".join(cells) + " |", flush=True)


def _peak_in_fresh_process(name, m, d, arguments):
    command = [sys.executable, "-m", "benchmarks.loss"]
    command += [
        f"--peak={name}:{m}:{d}",
        f"--device={arguments.device[:3].lower()}",
    ]
    command += ["--jit"] if arguments.jit else []
    return int(subprocess.run(command, check=True, stdout=-1).stdout)


def _print_peak(arguments):
    name, m, d = arguments.peak.split(":")
    # Threads, kernels and their scratch space start on something small.
    small = _views(256, 256)
    _compiled(LOSSES[name], *small, arguments.jit)()
    call = _compiled(LOSSES[name], *_views(int(m), int(d)), arguments.jit)
    print(peak_bytes(call, arguments.device))


def _print_figure_6(arguments):
    print("Coding length of m = d random unit embeddings and a noisy second")
    print(f"view of each (cosine 0.71), distortion {DISTORTION}: error of the")
    print("series relative to the exact value, in float64, and milliseconds")
    print("for the value alone in float32.\n")
    print(
        "| dim | order 1 | order 2 | order 4 | order 1 | order 2 | order 4 |",
        end="",
    )
    print(" exact |\n" + "|---:" * 8 + "|")
    errors, times = {}, {}
    for n in arguments.figure6_dims:
        views = _views(n, n, tf.float64)
        exact, *series = (
            coding_length(*views, distortion=DISTORTION, order=order)
            for order in (0, 1, 2, 4)
        )
        errors[n] = [float(abs(value / exact - 1)) for value in series]
        calls = {
            order: _length_of(*_views(n, n), order) for order in (1, 2, 4, 0)
        }
        timed = interleaved(calls, arguments.rounds, arguments.seconds)
        times[n] = [1e3 * timed[order] for order in (1, 2, 4, 0)]
        cells = [f"{n}", *(f"{100 * error:.2g} %" for error in errors[n])]
        cells += [f"{time:.2f}" for time in times[n]]
        print("| " + " | ".join(cells) + " |", flush=True)
    _draw_figure_6(errors, times, arguments.figure6)


def _length_of(z1, z2, order):
    """A call for the coding length, compiled."""
    return tf.function(
        lambda: coding_length(z1, z2, distortion=DISTORTION, order=order)
    )


def _draw_figure_6(errors, times, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    dims = list(errors)
    for index, order in enumerate((1, 2, 4)):
        left.plot(dims, [100 * errors[n][index] for n in dims], "o-")
        right.plot(dims, [times[n][index] for n in dims], "o-")
        left.lines[-1].set_label(f"order {order}")
    right.plot(dims, [times[n][3] for n in dims], "ko-")
    left.plot([], [], "ko-", label="exact")
    left.set_ylabel("relative error, %")
    right.set_ylabel("time, ms")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="m = d")
        axes.set_xticks(dims, [str(n) for n in dims], minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _integers(text):
    return [int(part) for part in text.split(",")]


def _pairs(text):
    return [tuple(_integers(part.replace("x", ","))) for part in text.split()]


def main(argv=None):
    """Runs the command of this module.

    Args:
        argv: the arguments of the command; those of the process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loss")
    parser.add_argument("--device", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("--jit", action="store_true", help="compile with XLA")
    parser.add_argument(
        "--rows",
        type=_integers,
        default="256,512,1024,2048,4096",
        help="numbers of samples m",
    )
    parser.add_argument(
        "--dims",
        type=_integers,
        default="512,2048,8192",
        help="dimensions d of the embeddings",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="timed calls of each, at most; 1: nothing is called untimed",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="leaves out what takes longer for its products alone, such as"
        " Algorithm 1 from m = 16384 on",
    )
    parser.add_argument(
        "--memory",
        type=_pairs,
        default="1024x2048 2048x2048 4096x2048 1024x8192",
        help="sizes whose peak of memory is measured; none if empty",
    )
    parser.add_argument(
        "--figure6",
        metavar="PNG",
        help="instead of the tables, the paper's Figure 6, drawn to this file",
    )
    parser.add_argument(
        "--figure6_dims",
        type=_integers,
        default="128,256,512,1024,2048",
        help="the sizes m = d of the figure",
    )
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    arguments.device = f"{arguments.device.upper()}:0"
    gpus = tf.config.list_physical_devices("GPU")
    if arguments.device.startswith("GPU") and not gpus:
        parser.error("--device=gpu, but TensorFlow finds none; give cpu")
    for gpu in gpus:  # leave room for the processes that measure memory
        tf.config.experimental.set_memory_growth(gpu, True)
    with tf.device(arguments.device):
        if arguments.peak:
            _print_peak(arguments)
        elif arguments.figure6:
            _print_figure_6(arguments)
        else:
            _print_times(arguments)
            if arguments.memory:
                _print_memory(arguments)


if __name__ == "__main__":
    main()
