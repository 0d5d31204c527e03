"""Score encoders by a protocol that is written down.

python -m mec_tf.evaluate --protocol=knn --encoder=exports/digits \
    --dataset=digits
"""

import json
import time
from pathlib import Path

from mec_tf import command, config
from mec_tf.augment import policy as policies
from mec_tf.command import say
from mec_tf.data import pipeline, sources
from mec_tf.evaluations import features, knn
from mec_tf.files import replaced_file
from mec_tf.formats.encoders import open_encoder

FLAGS = config.FLAGS
config.data()
config.views(policies.PRESETS)
config.seed()
config.evaluation()


def main():
    """Scores every encoder on the same images, prints one table."""
    splits = sources.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        train_split=FLAGS.train_split,
        test_split=FLAGS.test_split,
        seed=FLAGS.seed,
    )
    if splits.bank is None or splits.test is None:
        raise ValueError(
            f"{splits.pretrain.description} has no labels to score with; give"
            " images in one subfolder per class"
        )
    policy = policies.preset(FLAGS.views, image_size=FLAGS.image_size)
    rows = []
    for name in FLAGS.encoder:
        started = time.monotonic()
        encoder = open_encoder(
            name, mean=policy.mean, std=policy.std, seed=FLAGS.seed
        )
        bank, test = (
            features.extract(
                encoder.encode,
                pipeline.evaluation_batches(
                    source,
                    image_size=encoder.image_size or FLAGS.image_size,
                    batch_size=256,
                    crop_fraction=policy.crop_fraction,
                    interpolation=policy.interpolation,
                ),
            )
            for source in (splits.bank, splits.test)
        )
        scores = knn.run(
            bank,
            test,
            k=FLAGS.knn_k,
            temperature=FLAGS.knn_temperature,
            labels_per_class=FLAGS.labels_per_class,
            seed=FLAGS.seed,
        )
        seconds = round(time.monotonic() - started, 1)
        rows.append({"encoder": name, **scores, "seconds": seconds})
    say(f"references: {splits.bank.description}")
    say(f"queries: {splits.test.description}")
    print_table(rows)
    if FLAGS.output:
        result = {
            "protocol": FLAGS.protocol,
            "references": splits.bank.description,
            "queries": splits.test.description,
            "flags": config.resolved(),
            "top1": rows[0]["top1"],
            "results": rows,
        }
        with replaced_file(Path(FLAGS.output)) as partial:
            partial.write_text(json.dumps(result, indent=2) + "\n")


def print_table(rows):
    """Prints dicts as a table with one line each, scores in per cent."""
    cells = [list(rows[0])] + [
        [
            f"{100 * value:.1f} %"
            if isinstance(value, float) and value <= 1
            else str(value)
            for value in row.values()
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)))


if __name__ == "__main__":
    command.run(main)
