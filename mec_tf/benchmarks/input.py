"""How many images per second the views of two-view training cost.

    python -m mec_tf.benchmarks.input --data_dir=DIR

Measures, interleaved and with medians: a reference loader on Pillow in worker
processes (which need not even hand their views over), our host part (reading,
decoding, cropping), our device part (colour, blur, solarization), and both
together, fed from one to the other. An image counts once; each has two views
of 224 pixels.
"""

import concurrent.futures
import itertools
import multiprocessing
import os
import resource
import statistics
import time

from absl import app, flags

from mec_tf.augment import photometric
from mec_tf.augment.policy import preset
from mec_tf.benchmarks import pillow_loader
from mec_tf.data import pipeline, sources

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of images.", required=True
)
_VIEWS = flags.DEFINE_string("views", "byol", "Preset of views.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 32, "Images per batch.", lower_bound=1
)
_BATCHES = flags.DEFINE_integer(
    "batches", 8, "Batches per measurement.", lower_bound=1
)
_ROUNDS = flags.DEFINE_integer(
    "rounds", 5, "Measurements of each part, interleaved.", lower_bound=1
)
_WORKERS = flags.DEFINE_integer(
    "workers", 2, "Processes of the reference loader.", lower_bound=1
)
_TARGET = flags.DEFINE_float(
    "target", 2000.0, "Images per second that a training would take."
)


def measure(source, policy, *, batch_size, batches, rounds, workers):
    """Measures all parts in turn.

    Args:
      source: a `mec_tf.data.sources.Source` with file names.
      policy: the `mec_tf.augment.policy.Policy` with the views.
      batch_size: images per batch.
      batches: batches per measurement.
      rounds: measurements of each part.
      workers: processes of the reference loader.

    Returns:
      A dict of part ("reference", "host", "device", "both") -> images per
      second, one number per round.
    """
    count = batch_size * batches
    steps = iter(
        pipeline.training_batches(source, policy, batch_size=batch_size, seed=0)
    )

    def augment(step):
        return [
            photometric.augment(pixels, draws, view)
            for pixels, draws, view in zip(
                step["views"], step["draws"], policy.views, strict=True
            )
        ]

    def finish(views):
        for view in views:
            view[0, 0, 0].numpy()  # Waits for the device.

    still = next(steps)
    finish(augment(still))
    paths = itertools.cycle(source.file_names)
    # A fresh interpreter: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:

        def reference():
            work = itertools.islice(paths, count)
            chunk = -(-count // (8 * workers))
            for _ in pool.map(_load_and_drop, work, chunksize=chunk):
                pass

        def host():
            for _ in range(batches):
                next(steps)

        def device():
            for _ in range(batches):
                finish(augment(still))

        def both():
            for _ in range(batches):
                finish(augment(next(steps)))

        parts = (reference, host, device, both)
        speeds = {part.__name__: [] for part in parts}
        for round_ in range(rounds + 1):
            for part in parts:
                # What was prefetched while others were measured does not
                # count.
                for _ in range(4 if part in (host, both) else 0):
                    next(steps)
                begin = time.perf_counter()
                part()
                seconds = time.perf_counter() - begin
                if round_:  # The first round warms up.
                    speeds[part.__name__].append(count / seconds)
    return speeds


def _load_and_drop(path):
    pillow_loader.load_views(path)


def report(speeds, *, cores, target):
    """Returns the lines to print: medians, ratios, the bottleneck.

    Args:
      speeds: what `measure` returned.
      cores: CPU cores that the host part had.
      target: images per second that a training would take.
    """
    median = {part: statistics.median(each) for part, each in speeds.items()}
    lines = [f"{'part':<12}{'images/s':>10}{'to reference':>14}   range"]
    for part, speed in median.items():
        ratio = statistics.median(
            ours / theirs
            for ours, theirs in zip(
                speeds[part], speeds["reference"], strict=True
            )
        )
        least, most = min(speeds[part]), max(speeds[part])
        lines.append(
            f"{part:<12}{speed:>10.0f}{ratio:>13.2f}x"
            f"   {least:.0f} to {most:.0f}"
        )
    slower = min(("host", "device"), key=median.get)
    lines.append(
        f"The {slower} part is the bottleneck. The host part alone would feed "
        f"{target:,.0f} images/s from "
        f"{target / (median['host'] / cores):.1f} such cores."
    )
    return lines


def main(_):
    """Measures and prints."""
    source = sources.load("folder", data_dir=_DATA_DIR.value).pretrain
    policy = preset(_VIEWS.value, image_size=224)
    cores = len(os.sched_getaffinity(0))
    print(f"{source.description}; {cores} cores; views {_VIEWS.value}, 224")
    speeds = measure(
        source,
        policy,
        batch_size=_BATCH_SIZE.value,
        batches=_BATCHES.value,
        rounds=_ROUNDS.value,
        workers=_WORKERS.value,
    )
    print(*report(speeds, cores=cores, target=_TARGET.value), sep="\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Peak memory {peak:,.0f} MiB.")


if __name__ == "__main__":
    app.run(main)
