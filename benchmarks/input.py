"""How many images per second the views of two-view training cost.

    python -m benchmarks.input --data_dir=DIR

Measures, interleaved and with medians: a reference loader on Pillow in worker
processes (which need not even hand their views over), our host part (reading,
decoding, cropping), our device part (colour, blur, solarization), and both
together, fed from one to the other. An image counts once; each has two views
of 224 pixels.

Beside images per second stands the CPU time that an image took, which other
work on the machine hardly changes. Of a device part on a GPU it is what the
host spends on it. The memory of this process is printed round by round:
`--rounds` and `--batches` say for how many images it is to stay flat.
"""

import argparse
import concurrent.futures
import itertools
import multiprocessing
import os
import statistics
import time

from benchmarks import pillow_loader, timing
from mec_tf.augment import photometric
from mec_tf.augment.policy import preset
from mec_tf.data import pipeline, sources


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
      (results, memory). A dict of part ("reference", "host", "device", "both")
      -> one pair per round: images per second, and CPU milliseconds per image.
      A list of one pair per round: images that the host part had made by its
      end, and bytes of memory that this process then held.
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
    made, memory = batch_size, []
    paths = itertools.cycle(source.file_names)
    # A fresh interpreter: TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context) as pool:

        def reference():
            work = itertools.islice(paths, count)
            chunk = -(-count // (8 * workers))
            return sum(pool.map(_load_and_drop, work, chunksize=chunk))

        def host():
            for _ in range(batches):
                next(steps)

        def device():
            for _ in range(batches):
                finish(augment(still))

        def both():
            for _ in range(batches):
                finish(augment(next(steps)))

        def warm_up(part):
            """Brings prefetching to where the part finds and leaves it."""
            if part is device:
                time.sleep(1)  # All is prefetched; the host part rests.
            for _ in range(4 if part in (host, both) else 0):
                step = next(steps)
                if part is both:
                    finish(augment(step))

        parts = (reference, host, device, both)
        results = {part.__name__: [] for part in parts}
        for round_ in range(rounds + 1):
            for part in parts:
                warm_up(part)
                if part in (host, both):
                    made += (4 + batches) * batch_size
                begin, cpu_begin = time.perf_counter(), time.process_time()
                workers_cpu = part() or 0.0
                seconds = time.perf_counter() - begin
                cpu = time.process_time() - cpu_begin + workers_cpu
                if round_:  # The first round warms up.
                    results[part.__name__].append(
                        (count / seconds, 1000 * cpu / count)
                    )
            if round_:
                memory.append((made, timing.resident_bytes()))
    return results, memory


def _load_and_drop(path):
    """Loads in a worker; returns the CPU seconds that it took."""
    begin = time.process_time()
    pillow_loader.load_views(path)
    return time.process_time() - begin


def report(results, *, target):
    """Returns the lines to print: medians, ratios, the bottleneck.

    Args:
      results: what `measure` returned.
      target: images per second that a training would take.
    """
    lines = [
        f"{'part':<11}{'images/s':>9}{'to reference':>14}"
        f"{'CPU ms/image':>14}{'to reference':>14}"
    ]
    speeds, costs = {}, {}
    for part, rounds in results.items():
        pairs = list(zip(rounds, results["reference"], strict=True))
        faster = statistics.median(ours[0] / its[0] for ours, its in pairs)
        cheaper = statistics.median(its[1] / ours[1] for ours, its in pairs)
        speeds[part] = statistics.median(speed for speed, _ in rounds)
        costs[part] = statistics.median(cost for _, cost in rounds)
        lines.append(
            f"{part:<11}{speeds[part]:>9.0f}{faster:>13.2f}x"
            f"{costs[part]:>14.2f}{cheaper:>13.2f}x"
        )
    slower = min(("host", "device"), key=speeds.get)
    lines.append(
        f"The {slower} part is the bottleneck. The host part would feed "
        f"{target:,.0f} images/s from {target * costs['host'] / 1000:.1f} "
        "such cores."
    )
    return lines


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.input")
    parser.add_argument("--data_dir", required=True, help="folder of images")
    parser.add_argument("--views", default="byol", help="preset of views")
    parser.add_argument(
        "--batch_size", type=int, default=32, help="images per batch"
    )
    parser.add_argument(
        "--batches", type=int, default=8, help="batches per measurement"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="measurements of each part"
    )
    parser.add_argument(
        "--workers", type=int, default=2, help="of the reference loader"
    )
    parser.add_argument(
        "--target",
        type=float,
        default=2000.0,
        help="images per second that a training would take",
    )
    arguments = parser.parse_args()
    source = sources.load("folder", data_dir=arguments.data_dir).pretrain
    policy = preset(arguments.views, image_size=224)
    cores = len(os.sched_getaffinity(0))
    print(f"{source.description}; {cores} cores; views {arguments.views}, 224")
    results, memory = measure(
        source,
        policy,
        batch_size=arguments.batch_size,
        batches=arguments.batches,
        rounds=arguments.rounds,
        workers=arguments.workers,
    )
    print(*report(results, target=arguments.target), sep="\n")
    for images, held in memory:
        print(f"Memory after {images:,} images: {held / 2**20:,.0f} MiB.")


if __name__ == "__main__":
    main()
