"""The cluster and this process's worker, from TF_CONFIG or Slurm.

TF_CONFIG has precedence over Slurm's environment. The worker named chief, or
else worker 0, is the one that writes files.
"""

import json
import os

import tensorflow as tf
from tensorflow.python.eager import context

from mec_tf.errors import UserError

# Seconds that the workers wait for one another to start.
START_SECONDS = 300
# Seconds without a sign of life after which a worker counts as lost.
LOST_SECONDS = 10

_EXAMPLE = (
    '{"cluster": {"worker": ["host0:12345", "host1:12345"]},'
    ' "task": {"type": "worker", "index": 0}}'
)
# Ports of Slurm's jobs, by the job's number: jobs may share a node.
_PORTS = range(10_000, 30_000)


def resolve():
    """The cluster that the environment describes.

    Returns:
        `tf.distribute.cluster_resolver.SimpleClusterResolver` with the jobs
        `chief` and `worker`; its accelerators are the GPUs that this process
        sees.

    Raises:
        UserError: If neither TF_CONFIG nor Slurm's environment is there, or
            if what is there cannot be used.
    """
    if "TF_CONFIG" in os.environ:
        jobs, kind, index = _from_tf_config(os.environ["TF_CONFIG"])
    elif "SLURM_PROCID" in os.environ:
        jobs, kind, index = _from_slurm()
    else:
        raise UserError(
            "`strategy`=multi_worker finds neither TF_CONFIG nor Slurm's"
            " environment (SLURM_PROCID); start it by srun, or give each"
            f" worker its own TF_CONFIG='{_EXAMPLE}'"
        )
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(jobs),
        task_type=kind,
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )


def index_and_count(resolver):
    """This worker's number, the chief's being 0, and how many there are."""
    jobs = resolver.cluster_spec().as_dict()
    chiefs = len(jobs.get("chief", ()))
    index = resolver.task_id
    if resolver.task_type == "worker":
        index += chiefs
    return index, chiefs + len(jobs.get("worker", ()))


def watch(resolver):
    """Lets TensorFlow's coordination service watch over the workers.

    Every worker then fails, instead of waiting for ever, where one stops giving
    signs of life or does not come at the start. By default the latter would
    take an hour; there is no public way to say so.

    Args:
        resolver: What `resolve` returned. No operation may have run yet.
    """
    jobs = resolver.cluster_spec().as_dict()
    # Its own message type is not public, but it is a field of one that is.
    config = tf.compat.v1.ConfigProto().experimental.coordination_config
    for name in sorted(jobs):
        config.coordinated_job_list.add(name=name, num_tasks=len(jobs[name]))
    leader = "chief" if "chief" in jobs else "worker"
    context.context().configure_coordination_service(
        "standalone",
        service_leader=f"/job:{leader}/replica:0/task:0",
        cluster_register_timeout_in_ms=1000 * START_SECONDS,
        heartbeat_timeout_in_ms=1000 * LOST_SECONDS,
        coordinated_jobs=list(config.coordinated_job_list),
    )


def _from_tf_config(text):
    def wrong(what):
        return ValueError(f"TF_CONFIG {what}; expected such as {_EXAMPLE}")

    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise wrong(f"is not JSON ({error})") from error
    try:
        jobs, task = config["cluster"], config["task"]
        kind, index = task["type"], int(task["index"])
        jobs = {name: list(addresses) for name, addresses in jobs.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise wrong(f"lacks a cluster or a task ({error!r})") from error
    strangers = jobs.keys() - {"chief", "worker"}
    if strangers:
        raise wrong(
            f"names the job {min(strangers)!r}, neither chief nor worker"
        )
    if not 0 <= index < len(jobs.get(kind, ())):
        raise wrong(f"has no {kind} {index} in its cluster {jobs}")
    return jobs, kind, index


def _from_slurm():
    job = int(os.environ.get("SLURM_JOB_ID", 0))
    try:
        tasks = int(os.environ["SLURM_STEP_NUM_TASKS"])
        # Who sees which GPUs is left to Slurm: the resolver would count what is
        # bound to one task as all that the node has.
        slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=_PORTS[job % len(_PORTS)],
            gpus_per_node=tasks,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
        jobs = slurm.cluster_spec().as_dict()
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Slurm's environment cannot be used ({error}); start by srun"
            " inside of a job, or set TF_CONFIG"
        ) from error
    kind, index = slurm.get_task_info()
    address = jobs[kind][index]
    node = os.environ.get("SLURMD_NODENAME")
    if node and address.rpartition(":")[0] != node:
        # The resolver sorts the names of the nodes, Slurm numbers its tasks.
        raise UserError(
            f"Slurm's task {index} runs on {node}, but TensorFlow's resolver"
            f" takes it for {address}; use srun --distribution=block and nodes"
            " whose names sort by their numbers, or set TF_CONFIG"
        )
    return jobs, kind, index
