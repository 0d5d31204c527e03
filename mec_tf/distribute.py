"""Where a run computes: a strategy by name, sums and gathers over replicas."""

import tensorflow as tf

from mec_tf.objectives.replicas import ALONE, Replicas

STRATEGIES = ("auto", "one_device", "mirrored")


def split_cpu(count):
    """Splits the CPU into `count` logical devices (before any op runs).

    Lets `mirrored` be tried on a machine without GPUs.
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    )


def get_strategy(name):
    """The `tf.distribute.Strategy` of a name.

    Args:
        name: `auto`: every GPU of the machine, the one device where there are
            fewer than two; `one_device`: the first GPU, else the CPU;
            `mirrored`: every GPU, else every logical CPU.

    Raises:
        ValueError: If the name is not known.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if name in ("auto", "mirrored"):
        return tf.distribute.MirroredStrategy([d.name for d in devices])
    raise ValueError(
        f"strategy {name!r} is not known; choose one of {', '.join(STRATEGIES)}"
    )


def compiles_steps(jit, strategy, *, deterministic):
    """Whether XLA is to compile a training step.

    Args:
        jit: `on`, `off`, or `auto`: on for a single GPU. On CPUs a step is
            slower with it.
        strategy: The `tf.distribute.Strategy` of the run.
        deterministic: Whether TensorFlow's operations are to be.

    Raises:
        ValueError: If it is to be on for several replicas, whose exchange XLA
            does not compile, or for deterministic operations, with which Keras
            does not.
    """
    replicas = strategy.num_replicas_in_sync
    if jit == "on" and deterministic:
        raise ValueError(
            "--jit=on and --deterministic do not go together; give one of them"
        )
    if jit == "on" and replicas > 1:
        raise ValueError(
            f"--jit=on compiles for one device, but there are {replicas}"
            " replicas; give --jit=auto or --strategy=one_device"
        )
    (kind, _), *_ = (name.split(":") for name in devices(strategy))
    single_gpu = kind == "GPU" and replicas == 1
    return jit == "on" or (jit == "auto" and single_gpu and not deterministic)


def devices(strategy):
    """Names of the devices that a strategy computes on, such as `CPU:0`."""
    return [
        ":".join(name.split(":")[-2:])
        for name in strategy.extended.worker_devices
    ]


def current_replicas():
    """How the calling replica reaches the others, for the objective."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ALONE
    return Replicas(
        count=context.num_replicas_in_sync,
        gather=lambda rows: context.all_gather(rows, axis=0),
        sum=lambda value: context.all_reduce(tf.distribute.ReduceOp.SUM, value),
    )
