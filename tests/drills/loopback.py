"""Worker processes on one machine, as a cluster would start them."""

import contextlib
import json
import os
import random
import socket
import subprocess
from pathlib import Path


def free_ports(count):
    """Ports that nobody listens on, below those that the system hands out.

    No outgoing connection takes such a port between this look and its use.

    Raises:
        OSError: If there are not so many.
    """
    ports = []
    for port in random.sample(range(15_000, 30_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
        if len(ports) == count:
            return ports
    raise OSError(f"fewer than {count} free ports below 30,000")


@contextlib.contextmanager
def workers(count, command, folder):
    """Starts a command once for each worker; kills what is left at the end.

    Args:
        count: Number of workers.
        command: List of strings; each worker gets its own TF_CONFIG.
        folder: `pathlib.Path` to start them in; what worker k prints goes to
            `worker<k>.log` there.

    Yields:
        List of `subprocess.Popen`.
    """
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    root = str(Path(__file__).parents[2])
    processes = []
    try:
        for index in range(count):
            config = {
                "cluster": {"worker": addresses},
                "task": {"type": "worker", "index": index},
            }
            with open(folder / f"worker{index}.log", "w") as log:
                process = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=os.environ
                    | {"PYTHONPATH": root, "TF_CONFIG": json.dumps(config)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
