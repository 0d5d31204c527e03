r"""Images per second and peak memory of a whole MEC step, and where they go.

    python -m benchmarks.step

A step is all of it: colour and blur of two views, both networks, the order-4
loss, the optimizer, the moving average. Its parts are timed by themselves, in
turns with the whole; the backward pass is what a gradient takes beyond its
forward pass.

    python -m benchmarks.step --peer=torch

takes the same step in PyTorch in turns with ours, in a process of its own that
waits while we compute; both without augmentation, on uint8 views.

    python -m benchmarks.step --backbones=resnet18 --sizes=64 \
        --batches=64,1024 --micro_batch_size=64 --rounds=0

measures memory alone. Each peak is taken in a fresh process, of the first step:
how far the memory rises above weights, momenta and the batch's uint8 views.
"""

import argparse
import contextlib
import itertools
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks.timing import interleaved, peak_bytes
from mec_tf.augment import photometric, policy
from mec_tf.models import (
    SiameseModel,
    build_backbone,
    ema,
    heads,
    micro_batches,
)
from mec_tf.objectives.mec import MEC
from mec_tf.optimizers import SGD, LossScale

DISTORTION, MOMENTUM = 0.06, 0.996
PARTS = (
    "augment",
    "target",
    "online",
    "backward",
    "loss",
    "optimizer + EMA",
)


def build(backbone, *, size, batch, precision, arguments):
    """A model, ready to train, and a batch of random views for it.

    Args:
        backbone: Name of the backbone.
        size: Side of both views, pixels.
        batch: Images.
        precision: Name of the dtype policy.
        arguments: The arguments of the command.

    Returns:
        (`SiameseModel`, the batch that its `train_step` takes).
    """
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(0)
    backbone = build_backbone(backbone)
    d = arguments.projector_dim
    model = SiameseModel(
        backbone,
        heads.build_projector(backbone.output_shape[-1], dim=d, layers=3),
        heads.build_predictor(d, hidden_dim=512),
        policy=policy.preset(arguments.views, image_size=size),
        objective=MEC(DISTORTION),
        ema_momentum=lambda step: MOMENTUM,
        micro_batches=micro_batches.count(
            min(arguments.micro_batch_size, batch), batch_size=batch, replicas=1
        ),
    )
    optimizer = SGD(0.05, weight_decay=1e-5)
    if precision == "mixed_float16":
        optimizer = LossScale(optimizer)
    optimizer.build(model.learned)
    model.compile(optimizer=optimizer)
    random = np.random.default_rng(0)
    shape = (batch, size, size, 3)
    views = model.policy.views
    return model, {
        "views": tuple(
            tf.constant(random.integers(0, 256, shape, np.uint8)) for _ in views
        ),
        "draws": tuple(
            tf.constant(
                random.random((batch, photometric.NUM_DRAWS), np.float32)
            )
            for _ in views
        ),
    }


def calls(model, batch, jit):
    """The step, and its parts, as compiled functions without arguments.

    Returns:
        Dict from "step" and names of parts to functions that return tensors;
        "forward and backward" is both passes of the online network.
    """
    compiled = tf.function(jit_compile=jit)
    views = model.augment(batch)
    online, targets = model.embed(views)
    gradients = [tf.zeros(v.shape) for v in model.learned]
    step = model.steps_taken

    def forward_and_backward():
        with tf.GradientTape() as tape:
            outputs = model.embed_online(views)[1]
        return tape.gradient(outputs, model.learned, output_gradients=online)

    def loss():
        with tf.GradientTape() as tape:
            tape.watch(online)
            value, _ = model.compare(online, targets, batch, step)
        return tape.gradient(value, online)

    def update():
        model.optimizer.apply(gradients, model.learned)
        ema.update_ema(model.target, model.online, MOMENTUM)
        return [v.value for v in model.target.variables]

    parts = {
        "step": lambda: model.train_step(batch),
        "augment": lambda: model.augment(batch),
        "target": lambda: [model.target(v, training=True) for v in views],
        "online": lambda: model.embed_online(views)[1],
        "forward and backward": forward_and_backward,
        "loss": loss,
        "optimizer + EMA": update,
    }
    return {name: compiled(part) for name, part in parts.items()}


@contextlib.contextmanager
def torch_peer(backbone, size, batch):
    """PyTorch's step, as a function that returns its loss, while it lives."""
    command = [sys.executable, "-m", "benchmarks.torch_step"]
    command += [f"--backbone={backbone}", f"--size={size}", f"--batch={batch}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def step():
            print(file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(
                    f"PyTorch's process ended ({process.wait()}): see above"
                )
            return float(answer)

        yield step
        process.stdin.close()


def measure(backbone, size, batch, precision, arguments):
    """Median seconds of a step and of its parts, interleaved.

    Returns:
        Dict from "step", the names in `PARTS` and, with a peer, "bare" (our
        step without augmentation) and "torch" to seconds.
    """
    options = dict(size=size, batch=batch, precision=precision)
    model, data = build(backbone, **options, arguments=arguments)
    functions = calls(model, data, arguments.jit)
    with contextlib.ExitStack() as stack:
        if arguments.peer:
            bare = policy.preset("none", image_size=size)
            plain, _ = build(backbone, **options, arguments=arguments)
            plain.policy = bare
            functions["bare"] = tf.function(
                lambda: plain.train_step(data), jit_compile=arguments.jit
            )
            functions["torch"] = stack.enter_context(
                torch_peer(backbone, size, batch)
            )
        times = interleaved(functions, arguments.rounds, arguments.seconds)
    times["backward"] = times.pop("forward and backward") - times["online"]
    return times


def _row(configuration, arguments):
    times = measure(*configuration, arguments) if arguments.rounds else {}
    cells = [str(value) for value in configuration]
    batch = configuration[2]
    if times:
        cells.append(f"{batch / times['step']:.2f}")
    if arguments.memory:
        spent = _peak_in_fresh_process(configuration, arguments)
        cells.append(f"{spent / 2**20:,.0f}")
    if times:
        cells += [
            f"{1e3 * times[part]:,.0f} ({times[part] / times['step']:.1%})"
            for part in PARTS
        ]
        if arguments.peer:
            cells += [
                f"{batch / times[name]:.2f}" for name in ("bare", "torch")
            ]
            cells.append(f"{times['torch'] / times['bare']:.2f}")
    return "| " + " | ".join(cells) + " |"


def _peak_in_fresh_process(configuration, arguments):
    command = [sys.executable, "-m", "benchmarks.step"]
    command += ["--peak", *arguments.argv]
    for name, value in zip(
        ("backbones", "sizes", "batches", "precisions"),
        configuration,
        strict=True,
    ):
        command.append(f"--{name}={value}")
    return int(subprocess.run(command, check=True, stdout=-1).stdout)


def _print_peak(configuration, arguments, device):
    backbone, size, batch, precision = configuration
    # Threads, kernels and their scratch space start on something small.
    for images in (min(batch, 8), batch):
        model, data = build(
            backbone,
            size=size,
            batch=images,
            precision=precision,
            arguments=arguments,
        )
        step = tf.function(model.train_step, jit_compile=arguments.jit)
        traced = step.get_concrete_function(data)
        peak = peak_bytes(lambda traced=traced, data=data: traced(data), device)
    print(peak)


def _print_table(configurations, arguments):
    print("Images per second; peak of memory in MB; milliseconds (and share of")
    print("the step) of its parts, timed by themselves.\n")
    head = ["backbone", "size", "batch", "precision"]
    if arguments.rounds:
        head.append("images/s")
    if arguments.memory:
        head.append("MB")
    if arguments.rounds:
        head += PARTS
        if arguments.peer:
            head += ["without augment", "torch", "ours / torch"]
    print("| " + " | ".join(head) + " |\n" + "|---:" * len(head) + "|")
    for configuration in configurations:
        print(_row(configuration, arguments), flush=True)


def _words(text):
    return text.split(",")


def _integers(text):
    return [int(part) for part in text.split(",")]


def main(argv=None):
    """Runs the command of this module.

    Args:
        argv: the arguments of the command; those of the process by default.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step")
    parser.add_argument("--backbones", type=_words, default="resnet50")
    parser.add_argument("--sizes", type=_integers, default="128")
    parser.add_argument("--batches", type=_integers, default="16")
    parser.add_argument("--precisions", type=_words, default="float32")
    parser.add_argument("--projector_dim", type=int, default=2048)
    parser.add_argument(
        "--micro_batch_size",
        type=int,
        default=0,
        help="images in memory at a time, 0: all; with --rounds=0 only",
    )
    parser.add_argument("--views", default="byol", help="preset of the views")
    parser.add_argument("--jit", action="store_true", help="compile with XLA")
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="how often each is timed; 0: memory alone",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=300.0,
        help="no further round begins after this time",
    )
    parser.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also measure the peak of memory",
    )
    parser.add_argument(
        "--peer",
        choices=["torch"],
        help="take the same step in PyTorch, on the CPU in float32, in turns",
    )
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    arguments.argv = sys.argv[1:] if argv is None else argv
    configurations = list(
        itertools.product(
            arguments.backbones,
            arguments.sizes,
            arguments.batches,
            arguments.precisions,
        )
    )
    gpus = tf.config.list_physical_devices("GPU")
    if arguments.rounds and arguments.micro_batch_size:
        # The parts are timed on the whole batch, which such a step never sees.
        parser.error(
            "--micro_batch_size is for the memory alone: add --rounds=0"
        )
    if arguments.peer and (gpus or arguments.precisions != ["float32"]):
        parser.error("--peer=torch compares float32 on CPUs")
    if arguments.peak:
        _print_peak(*configurations, arguments, "GPU:0" if gpus else "CPU:0")
    else:
        _print_table(configurations, arguments)


if __name__ == "__main__":
    main()
