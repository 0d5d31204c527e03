"""Worker processes on loopback, as a cluster would start them."""

import contextlib
import json
import random
import socket
import subprocess

from conftest import environment


def free_ports(count):
    """Ports that nobody listens on, below those that the system hands out.

    No outgoing connection takes such a port between this look and its use.
    """
    ports = []
    for port in random.sample(range(15_000, 30_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError("no free ports")


def start_workers(count, command, folder):
    """Starts `command` once for each worker; a list of `Popen`.

    What worker k prints goes to `folder/worker<k>.log`.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    processes = []
    for index in range(count):
        config = {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
        with open(folder / f"worker{index}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment() | {"TF_CONFIG": json.dumps(config)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return processes


@contextlib.contextmanager
def ended(processes):
    """Kills what is left of the processes when the block ends."""
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
