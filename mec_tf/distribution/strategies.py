"""Distribution strategies by name; sums and gathers over replicas."""

import contextlib
import re

import numpy as np
import tensorflow as tf

from mec_tf.distribution import cluster
from mec_tf.errors import LostWorkers, UserError
from mec_tf.objectives.replicas import ALONE, Replicas

ON_ONE_MACHINE = ("auto", "one_device", "mirrored")
STRATEGIES = (*ON_ONE_MACHINE, "multi_worker")


def split_cpu(count: int) -> None:
    """Splits the CPU into `count` logical devices (before any op runs).

    Lets `mirrored` be tried on a machine without GPUs. A process can do it
    once, and not undo it.
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    former = tf.config.get_logical_device_configuration(cpu)
    if former is not None and len(former) == count:
        return
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    )


def get_strategy(name: str) -> tf.distribute.Strategy:
    """The `tf.distribute.Strategy` of a name.

    Args:
        name: `auto`: every GPU of the machine, the one device where there are
            fewer than two; `one_device`: the first GPU, else the CPU;
            `mirrored`: every GPU, else every logical CPU; `multi_worker`: every
            GPU, else the CPU, of every worker of the cluster (see `cluster`).

    Raises:
        UserError: If the name is not known, or the cluster is not described.
        LostWorkers: If the workers do not all come.
    """
    if name == "multi_worker":
        return _multi_worker()
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "one_device" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    if name in ("auto", "mirrored"):
        return tf.distribute.MirroredStrategy([d.name for d in devices])
    raise UserError(
        f"strategy {name!r} is not known; choose one of {', '.join(STRATEGIES)}"
    )


def compiles_steps(
    jit: str, strategy: tf.distribute.Strategy, *, deterministic: bool
) -> bool:
    """Whether XLA is to compile a training step.

    Args:
        jit: `on`, `off`, or `auto`: on for a single GPU. On CPUs a step is
            slower with it.
        strategy: The `tf.distribute.Strategy` of the run.
        deterministic: Whether TensorFlow's operations are to be.

    Raises:
        UserError: If it is to be on for several replicas (on CPUs XLA refuses
            to read a variable that another device holds, on GPUs it was not
            tried), or for deterministic operations, with which Keras does not.
    """
    replicas = strategy.num_replicas_in_sync
    if jit == "on" and deterministic:
        raise UserError(
            "`jit`=on and `deterministic` do not go together; give one of them"
        )
    if jit == "on" and replicas > 1:
        raise UserError(
            f"`jit`=on compiles for one device, but there are {replicas}"
            " replicas, with which XLA fails on CPUs and is untried on GPUs;"
            " give `jit`=auto or `strategy`=one_device"
        )
    (kind, _), *_ = (name.split(":") for name in devices(strategy))
    single_gpu = kind == "GPU" and replicas == 1
    return jit == "on" or (jit == "auto" and single_gpu and not deterministic)


def _multi_worker():
    resolver = cluster.resolve()
    cluster.watch(resolver)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        jobs = resolver.cluster_spec().as_dict()
        raise LostWorkers(
            f"the cluster {jobs} did not come together within"
            f" {cluster.START_SECONDS} s ({str(error).splitlines()[0]}); start"
            " every worker, each with an address that is its own and free"
        ) from error


def devices(strategy: tf.distribute.Strategy) -> list[str]:
    """Names of the devices that a strategy computes on, such as `CPU:0`.

    Of several workers, those of this one.
    """
    return [
        ":".join(name.split(":")[-2:])
        for name in strategy.extended.worker_devices
    ]


def current_replicas():
    """The `objectives.Replicas` of the calling replica."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ALONE
    return Replicas(
        count=context.num_replicas_in_sync,
        index=context.replica_id_in_sync_group,
        all_gather=lambda rows: context.all_gather(rows, axis=0),
        all_reduce=lambda value: context.all_reduce(
            tf.distribute.ReduceOp.SUM, value
        ),
    )


def rows_per_replica(strategy: tf.distribute.Strategy, batch_size: int) -> int:
    """Rows of a global batch that each replica gets.

    Raises:
        UserError: If the replicas cannot share a batch evenly.
    """
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise UserError(
            f"`batch_size`={batch_size} cannot be shared evenly by {replicas}"
            f" replicas; give a multiple of {replicas}"
        )
    return batch_size // replicas


def spread(strategy, make_batches, batch_size):
    """Batches such that each replica gets its rows of every global batch.

    Args:
        strategy: `tf.distribute.Strategy`.
        make_batches: Function of (worker, workers), by keyword, that returns
            the endless dataset of this worker's share of each global batch.
        batch_size: Rows of a global batch.

    Returns:
        What `Model.fit` takes. Row i of a global batch goes to replica
        `i // (batch_size / replicas)`, whatever the number of workers.

    Raises:
        UserError: If the replicas cannot share a batch evenly.
    """
    replicas = strategy.num_replicas_in_sync
    rows = rows_per_replica(strategy, batch_size)
    if replicas == 1:
        return make_batches(worker=0, workers=1)

    def of_worker(context):
        share = make_batches(
            worker=context.input_pipeline_id,
            workers=context.num_input_pipelines,
        )
        # Its replicas take turns. Were it not known to be endless, the workers
        # would ask one another at each step whether one has run out.
        share = share.rebatch(rows, drop_remainder=True)
        return share.apply(
            tf.data.experimental.assert_cardinality(
                tf.data.INFINITE_CARDINALITY
            )
        )

    return strategy.distribute_datasets_from_function(of_worker)


class Workers:
    """The processes that train together, and their exchange of numbers.

    Args:
        strategy: `tf.distribute.Strategy`; one process but for `multi_worker`.

    Attributes:
        count: Number of workers, at least 1.
        index: This worker's, from 0; 0 is the chief, which alone writes.
    """

    def __init__(self, strategy):
        self.index, self.count = 0, 1
        self._strategy = strategy
        self._task = None
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            self.index, self.count = cluster.index_and_count(resolver)
            self._task = (
                f"/job:{resolver.task_type}/replica:0/task:{resolver.task_id}"
            )

    @property
    def is_chief(self):
        """Whether this worker is the one that writes."""
        return self.index == 0

    def gather(self, values):
        """Waits until every worker calls this; what each of them gave.

        Args:
            values: k numbers, as many on each worker.

        Returns:
            float64 `[count, k]`, equal on all workers.
        """
        table = np.zeros([self.count, len(values)])
        table[self.index] = values
        if self.count == 1:
            return table
        total = self._strategy.reduce(
            tf.distribute.ReduceOp.SUM, tf.constant(table), axis=None
        )
        return total.numpy()

    def wait(self):
        """Waits until every worker waits here."""
        self.gather([0])

    def must_agree(self, number: int, what: str) -> None:
        """Waits for all workers and compares a number.

        Raises:
            UserError: If the workers do not have the same.
        """
        (numbers,) = self.gather([number]).T
        if np.ptp(numbers):
            raise UserError(
                f"{what} differs: {numbers.astype(int).tolist()} on workers 0"
                f" to {self.count - 1}; give all of them the same flags and"
                " folders that they share"
            )

    @contextlib.contextmanager
    def reporting_lost_workers(self):
        """Turns TensorFlow's error into one line where a worker is lost.

        Raises:
            LostWorkers: If another worker ended or cannot be reached.
        """
        try:
            yield
        except tf.errors.OpError as error:
            if self.count == 1 or "Collective ops is aborted" not in str(error):
                raise
            lost = lost_worker(str(error), self._task)
            raise LostWorkers(
                f"worker {self.index} of {self.count} lost {lost}, which ended"
                " or cannot be reached; its own last lines say why. Start the"
                " same command, without `overwrite`, on all workers again: they"
                " go on from the last checkpoint"
            ) from error


def lost_worker(text: str, own: str | None) -> str:
    """The worker that TensorFlow's error is about, or `another worker`.

    Args:
        text: Of the error. It names the devices of the worker that raises it,
            too.
        own: That worker, such as `/job:worker/replica:0/task:1`.
    """
    named = re.findall(r"/job:\w+/replica:\d+/task:\d+", text)
    others = [name for name in named if name != own]
    return others[0] if others else "another worker"
