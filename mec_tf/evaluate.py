"""Score encoders by a protocol that is written down.

python -m mec_tf.evaluate --protocol=knn --encoder=exports/digits \
    --dataset=digits
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from mec_tf import legacy_command, legacy_flags
from mec_tf.data import labelled, sources
from mec_tf.data.crops import usual_crop_fraction
from mec_tf.data.file_names import stored
from mec_tf.data.sources import Source, checksum
from mec_tf.distribution import strategies
from mec_tf.errors import UserError
from mec_tf.evaluations import finetune, knn, linear, logistic
from mec_tf.evaluations.feature_cache import features_of
from mec_tf.evaluations.suites import PUBLISHED, SUITES
from mec_tf.evaluations.supervised import Recipe
from mec_tf.files import path_lists
from mec_tf.files.atomic import partial_of, replaced_file
from mec_tf.formats import encoders, feature_file
from mec_tf.legacy_command import say
from mec_tf.training import run_record, workdir
from mec_tf.training.callbacks.divergence import Divergence
from mec_tf.training.callbacks.ownership import Ownership
from mec_tf.training.callbacks.progress import Progress
from mec_tf.training.callbacks.saver import Saver

PROTOCOLS = ("knn", "linear", "logistic", "finetune", "transfer", "features")
# What flags that are not given mean to a protocol.
DEFAULTS = {
    "linear": {
        "batch_size": 4096,
        "epochs": 100,
        "head_lr": ["0.03", "0.1", "0.3", "1", "3"],
        "validation_fraction": 0.0,
    },
    "logistic": {"validation_fraction": 0.2},
    "finetune": {"batch_size": 1024, "epochs": 50},
}
# What flags that are given do not mean to it.
NO_EFFECT = {
    "knn": ("validation_fraction", "feature_norm"),
    "logistic": ("feature_norm",),
    "finetune": ("validation_fraction", "feature_norm"),
}
# Of a result's row: in the JSON, but the table is narrow without them.
ONLY_IN_JSON = (
    "batch_size",
    "steps",
    "peak_lr",
    "image_size",
    "crop_fraction",
    "chosen_on",
)

FLAGS = legacy_flags.FLAGS
legacy_flags.data(image_size=None)
legacy_flags.seed()
legacy_flags.device(
    strategies.ON_ONE_MACHINE,
    what="linear and finetune train on these devices; features are extracted"
    " and images scored on one.",
)
legacy_flags.evaluation(PROTOCOLS, list(SUITES))
legacy_flags.labelled_part()
legacy_flags.crops()
legacy_flags.neighbours(knn.METRICS)
legacy_flags.classifiers()
legacy_flags.keeping()


class Subject(NamedTuple):
    """An encoder that is scored.

    Attributes:
        name: As `--encoder` has it.
        image_size: Side of the images that it sees, pixels.
        crop_fraction: Side of the centre crop, see `data.crops`.
    """

    name: str
    image_size: int
    crop_fraction: float


class Task(NamedTuple):
    """What an encoder is scored on.

    Attributes:
        train: Labelled `Source`.
        test: Labelled `Source`.
        metric: Name of the score.
    """

    train: Source
    test: Source
    metric: str


def main():
    """Holds the workdir as long as it is at work in it."""
    with contextlib.ExitStack() as held:
        evaluate(held)


def evaluate(held):
    """Scores every encoder on the same images, prints one table."""
    started = time.monotonic()
    flagfile = legacy_flags.flagfile_name(sys.argv)
    if flagfile and not FLAGS.workdir:
        FLAGS.workdir = f"runs/{flagfile}"
    names = [
        name
        for text in FLAGS.encoder
        for name in path_lists.split(text, field="encoder")
    ]
    strategy = legacy_command.prepare_devices()
    by = FLAGS.transfer_by if FLAGS.protocol == "transfer" else FLAGS.protocol
    settle(by)
    if by == "finetune":
        for name in names:
            encoders.require_weights(name)
    task = None
    if FLAGS.protocol not in ("transfer", "features"):
        task = make_task(legacy_flags.source_options(), FLAGS.metric)
        FLAGS.metric = task.metric
    subjects = make_subjects(names)
    output = place_of_scores(flagfile, by)
    if FLAGS.workdir and by in ("linear", "finetune"):
        held.enter_context(
            workdir.claim(
                Path(FLAGS.workdir),
                legacy_flags.resolved(),
                kind=run_record.EVALUATION,
                defaults=legacy_flags.defaults(),
                overwrite=FLAGS.overwrite,
                ignored=(*legacy_flags.WHERE_AND_HOW, "output"),
            )
        )

    if FLAGS.protocol == "features":
        result = {"results": write_features(subjects)}
    elif FLAGS.protocol == "transfer":
        result = transfer(subjects, by, strategy)
    else:
        rows = [score(one, task, by, strategy) for one in subjects]
        say(f"trained or referenced on: {task.train.description}")
        say(f"scored on: {task.test.description}")
        print_table(rows)
        result = {
            "train": task.train.description,
            "test": task.test.description,
            "metric": task.metric,
            "results": rows,
        }
        if "top1" in rows[0]:
            result["top1"] = rows[0]["top1"]
    result = {
        "protocol": FLAGS.protocol,
        "flags": legacy_flags.resolved(),
        "seconds": round(time.monotonic() - started, 1),
        **result,
    }
    with replaced_file(output) as partial:
        partial.write_text(json.dumps(result, indent=2) + "\n")
    say(f"scores: {output}")


# --- what the flags come to --------------------------------------------------


def settle(by):
    """Gives flags their values for the protocol, says which have none."""
    for name, value in DEFAULTS.get(by, {}).items():
        if FLAGS[name].value in (None, []):
            FLAGS[name].value = value
    if by == "finetune" and not FLAGS.head_lr:
        FLAGS.head_lr = [f"{FLAGS.base_lr:g}"]
    idle = [f"--{name}" for name in NO_EFFECT.get(by, ()) if FLAGS[name].value]
    for name in idle:
        say(f"{name} has no effect on {by}")


def place_of_scores(flagfile, by):
    """The JSON to write, made sure of before anything is computed."""
    if FLAGS.protocol == "features":
        if not FLAGS.output:
            raise UserError(
                "`protocol`=features needs an `output` that ends in one of"
                f" {', '.join(feature_file.SUFFIXES)}"
            )
        feature_file.check(FLAGS.output)
        path = feature_file.card_of(FLAGS.output)
    elif FLAGS.output:
        path = Path(FLAGS.output)
    elif FLAGS.workdir and (
        by in ("linear", "finetune") or Path(FLAGS.workdir).is_dir()
    ):
        return Path(FLAGS.workdir) / "scores.json"  # `claim` looks after it
    else:
        path = Path(f"runs/{flagfile or FLAGS.protocol}_scores.json")
    if path.is_dir():
        raise UserError(f"`output`={path} is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = partial_of(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"`output`={path} cannot be written ({error.strerror}); name a file"
            " in a folder that can be"
        ) from error
    return path


# --- what is scored ----------------------------------------------------------


def make_task(options, metric):
    """Loads the labelled images that the flags leave."""
    splits = sources.load(**options)
    if splits.references is None or splits.test is None:
        raise UserError(
            f"{splits.pretrain.description} has no labels to score with; give"
            " images in one subfolder per class"
        )
    if splits.references is splits.pretrain:  # not where one was held out of it
        labelled.check(splits.references, splits.test)
    multi_label = splits.references.multi_label
    metric = metric or ("map11" if multi_label else "top1")
    if multi_label != (metric == "map11"):
        raise UserError(
            f"--metric={metric}: an image of {splits.references.description} is of"
            f" {'several classes' if multi_label else 'one class'}; leave the"
            " metric out"
        )
    train = splits.references
    if FLAGS.split_file:
        train = labelled.listed(train, FLAGS.split_file)
    train = labelled.fraction(train, FLAGS.label_fraction, seed=FLAGS.seed)
    return Task(train, splits.test, metric)


def make_subjects(names):
    """Each encoder with the flag's image size, or that of its training."""
    sizes = [encoders.trained_at(name) for name in names]
    first = next(filter(None, sizes), None)
    if not (FLAGS.image_size or first):
        raise UserError("baselines alone have no image size: --image_size=224")
    sizes = [FLAGS.image_size or size or first for size in sizes]
    subjects = [
        Subject(name, size, FLAGS.crop_fraction or usual_crop_fraction(size))
        for name, size in zip(names, sizes, strict=True)
    ]
    if len(set(sizes)) == 1:  # else each row says its own
        _, FLAGS.image_size, FLAGS.crop_fraction = subjects[0]
    return subjects


def transfer(subjects, by, strategy):
    """Scores every encoder on every set of the suite."""
    chosen = {
        one.name: one
        for one in SUITES[FLAGS.suite]
        if not FLAGS.sets or one.name in FLAGS.sets
    }
    unknown = set(FLAGS.sets or ()) - set(chosen)
    if unknown:
        raise UserError(
            f"--sets={','.join(sorted(unknown))} is not in the suite; choose of"
            f" {', '.join(one.name for one in SUITES[FLAGS.suite])}"
        )
    tasks, missing = {}, []
    for name, one in chosen.items():
        options = legacy_flags.source_options() | {
            "dataset": one.dataset,
            "train_split": one.train_split,
            "test_split": one.test_split,
        }
        try:
            tasks[name] = make_task(options, one.metric)
        except UserError as error:
            missing.append(f"{name}: {error}")
    if missing:
        raise UserError(
            f"{len(missing)} of {len(chosen)} sets cannot be scored on; "
            + " | ".join(missing)
        )
    for name, one in chosen.items():
        sizes = (tasks[name].train.size, tasks[name].test.size)
        if sizes != one.images:
            say(
                f"{name}: {sizes[0]:,} + {sizes[1]:,} images; in the literature"
                f" {one.images[0]:,} + {one.images[1]:,}"
            )
    rows, results = [], []
    for subject in subjects:
        found = {
            name: score(subject, task, by, strategy)
            for name, task in tasks.items()
        }
        shares = {
            f"{name} ({tasks[name].metric})": scores[tasks[name].metric]
            for name, scores in found.items()
        }
        mean = float(np.mean(list(shares.values())))
        rows.append({"encoder": subject.name, **shares, "mean": mean})
        results += [
            {"set": name, "metric": tasks[name].metric, **row}
            for name, row in found.items()
        ]
    beside = published(by, tasks)
    print_table([*rows, *beside], shares={"mean", *shares})
    return {
        "suite": FLAGS.suite,
        "by": by,
        "table": rows,
        "published": beside,
        "results": results,
    }


def published(by, tasks):
    """Rows of papers for the sets of `tasks`, as those of the table."""
    names = [one.name for one in SUITES[FLAGS.suite]]
    rows = []
    for one in PUBLISHED[FLAGS.suite][by]:
        scores = dict(zip(names, one.scores, strict=True))
        shares = {
            f"{name} ({task.metric})": scores[name] / 100
            for name, task in tasks.items()
        }
        mean = float(np.mean(list(shares.values())))
        label = f"{one.method} (paper: {one.source})"
        rows.append({"encoder": label, **shares, "mean": mean})
    return rows


# --- by which protocol -------------------------------------------------------


def score(subject, task, protocol, strategy):
    """Scores one encoder: a row of the table."""
    started = time.monotonic()
    # The same untrained weights wherever in the list they stand.
    keras.utils.set_random_seed(FLAGS.seed)
    scores = {
        "knn": by_knn,
        "linear": by_linear,
        "logistic": by_logistic,
        "finetune": by_finetune,
    }[protocol](subject, task, strategy)
    seconds = round(time.monotonic() - started, 1)
    return {
        "encoder": subject.name,
        **scores,
        "image_size": subject.image_size,
        "crop_fraction": subject.crop_fraction,
        "seconds": seconds,
    }


def by_knn(subject, task, strategy):
    """Nearest neighbours of frozen features."""
    bank, test = features(subject, task.train, task.test)
    return knn.run(
        bank,
        test,
        k=FLAGS.knn_k,
        temperature=FLAGS.knn_temperature,
        metric=FLAGS.knn_metric,
        labels_per_class=FLAGS.labels_per_class,
        seed=FLAGS.seed,
    )


def by_logistic(subject, task, strategy):
    """Logistic regression on frozen features."""
    validation = validation_part(task.train)
    if validation is None:
        raise UserError(
            "--validation_fraction=0: logistic chooses its penalty on a"
            " validation part; give a share above 0, such as 0.2"
        )
    bank, test = features(subject, task.train, task.test)
    return logistic.run(
        bank,
        test,
        class_names=task.train.class_names,
        validation=validation[bank.index],
        metric=task.metric,
        penalties=FLAGS.penalties,
    )


def by_linear(subject, task, strategy):
    """A linear head on frozen features, trained on crops."""
    with strategy.scope():
        encode, card = encoders.open_encoder(subject.name)
    return linear.run(
        encode,
        task.train,
        task.test,
        recipe=recipe(subject),
        head_lrs=[float(text) for text in FLAGS.head_lr],
        feature_norm=FLAGS.feature_norm,
        metric=task.metric,
        validation=validation_part(task.train),
        strategy=strategy,
        keep=place(card, task.train),
        watch=watch,
    )


def by_finetune(subject, task, strategy):
    """All weights learn."""
    with strategy.scope():
        encoder, card = encoders.open_model(subject.name)
    if len(FLAGS.head_lr) > 1:
        raise UserError(
            f"--head_lr={','.join(FLAGS.head_lr)}: fine-tuning has one head;"
            " give one rate"
        )
    return finetune.run(
        encoder,
        task.train,
        task.test,
        recipe=recipe(subject),
        base_lr=FLAGS.base_lr,
        head_lr=float(FLAGS.head_lr[0]),
        strategy=strategy,
        keep=place(card, task.train),
        watch=watch,
    )


def write_features(subjects):
    """Writes the features of all images of the (pre)training split."""
    if len(subjects) > 1:
        raise UserError(
            f"`protocol`=features takes one `encoder`, not {len(subjects)};"
            " leave the others out"
        )
    (subject,) = subjects
    source = sources.load(**legacy_flags.source_options()).pretrain
    # All that can fail fails before features are computed.
    files = source.names or [str(k) for k in range(source.size)]
    names = feature_file.stored_names(files)
    paths = names
    if FLAGS.dataset == "folder":
        top = os.path.expanduser(FLAGS.data_dir)
        paths = [
            stored(Path(os.path.relpath(file, top)).as_posix())
            for file in files
        ]
    encode, card = encoders.open_encoder(subject.name)
    side = subject.image_size
    d = encode(np.zeros([1, side, side, 3], np.float32)).shape[-1]
    feature_file.require_room(FLAGS.output, source.size, d)
    found = features_by(encode, card, subject, source)
    feature_file.save(
        FLAGS.output,
        found,
        [names[k] for k in found.index],
        source.class_names,
        [paths[k] for k in found.index],
    )
    n = len(found.values)
    print(f"{n:,} features of {d} numbers: {FLAGS.output}")
    return [{"encoder": subject.name, "images": n, "feature_dim": d}]


# --- what they share ---------------------------------------------------------


def features(subject, *parts):
    """Frozen features of each source."""
    encode, card = encoders.open_encoder(subject.name)
    return [features_by(encode, card, subject, source) for source in parts]


def features_by(encode, card, subject, source):
    """Features of a source by an encoder that is open."""
    return features_of(
        source,
        encode,
        encoder=card["checksum"],
        folder=FLAGS.feature_cache,
        batch_size=256,
        image_size=subject.image_size,
        crop_fraction=subject.crop_fraction,
        interpolation=FLAGS.interpolation,
        resize=FLAGS.test_resize,
    )


def validation_part(source):
    """Which labelled images choose, boolean `[n]`, or None: none of them."""
    if not FLAGS.validation_fraction:
        return None
    return labelled.hold_out(source, FLAGS.validation_fraction, seed=FLAGS.seed)


def recipe(subject):
    """How heads are trained."""
    return Recipe(
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        steps=FLAGS.steps,
        weight_decay=FLAGS.weight_decay,
        image_size=subject.image_size,
        crop_area=tuple(float(text) for text in FLAGS.crop_area),
        flip=FLAGS.flip,
        interpolation=FLAGS.interpolation,
        resize=FLAGS.test_resize,
        crop_fraction=subject.crop_fraction,
        seed=FLAGS.seed,
    )


def place(card, source):
    """Folder of checkpoints: another one if encoder or images change."""
    if not FLAGS.workdir:
        return None
    key = checksum(card["checksum"], source.fingerprint())[:16]
    return Path(FLAGS.workdir) / "checkpoints" / key


def watch(model, passes, base_lrs, checkpoints, first_step):
    """What watches the training of heads."""
    say(passes.told(base_lrs))
    if first_step:
        say(f"going on from step {first_step} of {passes.total_steps}")
    callbacks = [
        Divergence(remedy="lower `base_lr` or `head_lr`"),
        Progress(passes),
    ]
    if checkpoints is not None:
        saver = Saver(
            checkpoints,
            passes,
            minutes=FLAGS.checkpoint_minutes,
            each_epoch=False,
            workers=strategies.Workers(model.distribute_strategy),
        )
        callbacks.insert(0, Ownership(Path(FLAGS.workdir)))
        saver.keep_means(model)
        if first_step < passes.total_steps:  # who trains gives them back
            saver.catch_signals()
        callbacks.append(saver)
    return callbacks


# --- what is told ------------------------------------------------------------


def print_table(rows, shares=("mean_per_class", "map11")):
    """Prints dicts of equal keys as a table; shares in per cent."""

    def shown(name, value):
        if name.startswith("top") or name in shares:
            return f"{100 * value:.1f} %"
        return f"{value:.3g}" if name in ("penalty", "base_lr") else str(value)

    columns = [
        name
        for name, value in rows[0].items()
        if name not in ONLY_IN_JSON and not isinstance(value, dict)
    ]
    cells = [columns] + [
        [shown(name, row[name]) for name in columns] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)))


if __name__ == "__main__":
    legacy_command.run(main)
