"""Score encoders by a protocol that is written down.

python -m mec_tf.evaluate --protocol=knn --encoder=exports/digits \
    --dataset=digits
"""

import json
import time
from pathlib import Path

import keras

from mec_tf import command, config
from mec_tf.command import say
from mec_tf.data import pipeline, sources
from mec_tf.evaluations import features, knn
from mec_tf.files import replaced_file
from mec_tf.formats.encoders import open_encoder

FLAGS = config.FLAGS
config.data(image_size=None)
config.seed()
config.evaluation()


def main():
    """Scores every encoder on the same images, prints one table."""
    splits = sources.load(**config.source_options())
    if splits.bank is None or splits.test is None:
        raise ValueError(
            f"{splits.pretrain.description} has no labels to score with; give"
            " images in one subfolder per class"
        )
    keras.utils.set_random_seed(FLAGS.seed)
    encoders = [(name, *open_encoder(name)) for name in FLAGS.encoder]
    sizes = [card["image_size"] for _, _, card in encoders if card]
    if not (FLAGS.image_size or sizes):
        raise ValueError("baselines alone have no image size: --image_size=224")
    rows = []
    for name, encode, card in encoders:
        started = time.monotonic()
        bank, test = (
            features.extract(
                encode,
                pipeline.evaluation_batches(
                    source,
                    image_size=FLAGS.image_size
                    or card.get("image_size", sizes[0]),
                    batch_size=256,
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
    """Prints dicts of equal keys as a table; shares in per cent."""
    cells = [list(rows[0])] + [
        [_shown(*i) for i in row.items()] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)))


def _shown(name, value):
    return f"{100 * value:.1f} %" if name.startswith("top") else str(value)


if __name__ == "__main__":
    command.run(main)
