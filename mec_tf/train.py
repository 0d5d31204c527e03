"""Pretrain an image encoder without labels, then export it.

python -m mec_tf.train --flagfile=flags/digits.cfg
"""

import sys
from pathlib import Path

import keras
import tensorflow as tf

from mec_tf import command, config, distribute, workdir
from mec_tf.augment import policy as policies
from mec_tf.checkpoint import Checkpoints
from mec_tf.data import pipeline, sources
from mec_tf.formats import saved_model
from mec_tf.models import SiameseModel, build_backbone, heads, resnet
from mec_tf.monitors import history
from mec_tf.monitors.divergence import Divergence
from mec_tf.monitors.progress import Progress, Report
from mec_tf.monitors.representation import Representation
from mec_tf.monitors.saver import Saver
from mec_tf.objectives import OBJECTIVES
from mec_tf.objectives.criterion import MECCriterion
from mec_tf.optimizers import LARS, SGD, WarmupCosine, schedules
from mec_tf.plan import make_plan, segments

FLAGS = config.FLAGS
config.data()
config.views(policies.PRESETS)
config.model(resnet.BACKBONES)
config.objective(OBJECTIVES)
config.optimisation()
config.seed()
config.device(distribute.STRATEGIES)
config.running()


def main():
    """Reads the flags and wires the rooms."""
    name = config.flagfile_name(sys.argv) or FLAGS.dataset.replace("/", "_")
    FLAGS.workdir = FLAGS.workdir or f"runs/{name}"
    FLAGS.export_dir = FLAGS.export_dir or f"exports/{name}"
    run, export = Path(FLAGS.workdir), Path(FLAGS.export_dir)

    # --- where it computes ---------------------------------------------------
    if FLAGS.logical_cpus > 1:
        distribute.split_cpu(FLAGS.logical_cpus)
    if FLAGS.deterministic is None:
        FLAGS.deterministic = not tf.config.list_physical_devices("GPU")
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(FLAGS.seed)
    strategy = distribute.get_strategy(FLAGS.strategy)

    # --- what it sees --------------------------------------------------------
    splits = sources.load(
        FLAGS.dataset,
        data_dir=FLAGS.data_dir,
        train_split=FLAGS.train_split,
        test_split=FLAGS.test_split,
        seed=FLAGS.seed,
    )
    policy = policies.preset(FLAGS.views, image_size=FLAGS.image_size)
    plan = make_plan(
        images=splits.pretrain.size,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        steps=FLAGS.steps,
        base_lr=FLAGS.base_lr,
        warmup_epochs=FLAGS.warmup_epochs,
        lambda_warmup_epochs=FLAGS.lambda_warmup_epochs,
        embedding_dim=FLAGS.projector_dim,
        distortion=FLAGS.distortion,
    )

    # --- what learns ---------------------------------------------------------
    with strategy.scope():
        model = build_model(policy, plan)
    workdir.claim(
        run,
        config.resolved(),
        overwrite=FLAGS.overwrite,
        ignored=("strategy", "logical_cpus"),
    )
    checkpoints = Checkpoints(
        run / "checkpoints",
        keep=FLAGS.keep_checkpoints,
        model=model,
        optimizer=model.optimizer,
    )
    first_step, warnings = checkpoints.restore()
    for line in (*plan.notes, *warnings):
        print(f"mec_tf: {line}", file=sys.stderr)

    # --- the run -------------------------------------------------------------
    print(f"pretraining on {splits.pretrain.description}", file=sys.stderr)
    if first_step:
        print(f"going on from step {first_step}", file=sys.stderr)
    train(model, splits, policy, plan, checkpoints, first_step, run)

    # --- what remains of it --------------------------------------------------
    scores = last_scores(run, splits)
    saved_model.save(
        model.encoder,
        export,
        backbone=FLAGS.backbone,
        image_size=FLAGS.image_size,
        mean=policy.mean,
        std=policy.std,
        objective=FLAGS.objective,
        dataset=FLAGS.dataset,
        steps=plan.total_steps,
        scores=scores,
    )
    print_farewell(export, scores)
