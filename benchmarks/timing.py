"""Times and peak memory of a call, fair to all that are compared."""

import ctypes
import re
import statistics
import time

import tensorflow as tf

_RESET_PEAK = "5"  # proc(5), clear_refs
_M_MMAP_THRESHOLD = -3  # mallopt(3)


def interleaved(calls, rounds, seconds=60.0):
    """Times several calls in turns, so that disturbances hit all of them.

    Each is called once before, untimed, which traces and compiles; not where
    one round is all: such calls take minutes, and begin compiled.

    Args:
        calls: dict from a name to a function without arguments.
        rounds: how often each is timed, at least 1.
        seconds: no further round begins after this time.

    Returns:
        Dict from each name to its median time in seconds.
    """
    if rounds > 1:
        for call in calls.values():
            call()
        tf.test.experimental.sync_devices()
    times = {name: [] for name in calls}
    begin = time.perf_counter()
    for done in range(rounds):
        if done and time.perf_counter() - begin > seconds:
            break
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            # A GPU computes behind our back.
            tf.test.experimental.sync_devices()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak_bytes(call, device="CPU:0"):
    """How far memory rises above its level while a call runs.

    On a CPU this is the resident memory of the process. TensorFlow may keep
    scratch space for later calls: measure one call in a fresh process, traced
    but not yet run. On a GPU, TensorFlow's allocator is asked.

    Args:
        call: function without arguments that returns tensors.
        device: "CPU:0" or a GPU such as "GPU:0".

    Returns:
        Bytes, the results of the call included.

    Raises:
        OSError: for a CPU where the system is not Linux.
    """
    if device.startswith("GPU"):
        before = tf.config.experimental.get_memory_info(device)["current"]
        tf.config.experimental.reset_memory_stats(device)
        results = call()
        tf.test.experimental.sync_devices()
        del results  # not before all is there
        peak = tf.config.experimental.get_memory_info(device)["peak"]
        return peak - before
    with open("/proc/self/clear_refs", "w") as file:
        # What the C library has kept of earlier calls would hide a peak, and
        # what it keeps of this one would raise it.
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**17)
        libc.malloc_trim(0)
        file.write(_RESET_PEAK)
    before = resident_bytes()
    results = call()
    tf.test.experimental.sync_devices()
    del results  # not before all is there
    return _status_bytes("VmHWM") - before


def resident_bytes():
    """Memory that this process holds, in bytes; Linux only."""
    return _status_bytes("VmRSS")


def _status_bytes(field):
    with open("/proc/self/status") as file:
        return int(re.search(rf"{field}:\s+(\d+) kB", file.read())[1]) * 1024
