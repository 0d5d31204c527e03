"""Pretrain an image encoder without labels, then export it.

python -m mec_tf.train --flagfile=flags/digits.cfg
"""

import contextlib
import functools
import sys
from pathlib import Path

import keras
import numpy as np

from mec_tf import legacy_command, legacy_flags, objectives
from mec_tf.augment import policy as policies
from mec_tf.data import bad_images, pipeline, sources
from mec_tf.distribution import strategies
from mec_tf.formats import card, saved_model
from mec_tf.legacy_command import say
from mec_tf.models import (
    SiameseModel,
    backbones,
    build_backbone,
    heads,
    micro_batches,
)
from mec_tf.models.encoder import in_float32
from mec_tf.optimizers import LARS, SGD, LossScale, WarmupCosine, schedules
from mec_tf.pretraining.representation import Representation
from mec_tf.training import run_record, workdir
from mec_tf.training.callbacks.divergence import Divergence
from mec_tf.training.callbacks.history import History, last_scores
from mec_tf.training.callbacks.ownership import Ownership
from mec_tf.training.callbacks.progress import Progress
from mec_tf.training.callbacks.saver import Saver
from mec_tf.training.checkpoint import Checkpoints
from mec_tf.training.schedule import make_plan, segments, table

# Most images that a monitor looks at: enough for RankMe (its section 4).
MONITORED = 25_600

FLAGS = legacy_flags.FLAGS
legacy_flags.data(image_size=224)
legacy_flags.views(policies.PRESETS)
legacy_flags.model(backbones.NAMES)
legacy_flags.objective(objectives.OBJECTIVES)
legacy_flags.optimisation()
legacy_flags.seed()
legacy_flags.device(strategies.STRATEGIES)
legacy_flags.running()


def main():
    """Reads the flags and wires the rooms."""
    name = legacy_flags.flagfile_name(sys.argv) or FLAGS.dataset.replace(
        "/", "_"
    )
    FLAGS.workdir = FLAGS.workdir or f"runs/{name}"
    FLAGS.export_dir = FLAGS.export_dir or f"exports/{name}"
    run, export = Path(FLAGS.workdir), Path(FLAGS.export_dir)

    # --- where it computes ---------------------------------------------------
    strategy = legacy_command.prepare_devices(compiled=FLAGS.jit == "on")
    keras.config.set_dtype_policy(FLAGS.precision)
    workers = strategies.Workers(strategy)
    with contextlib.ExitStack() as held, workers.losses_named():
        pretrain(run, export, strategy, workers, held)


def pretrain(run, export, strategy, workers, held):
    """One run on one worker: all do the same, and the chief writes.

    It is given up with `held`, a `contextlib.ExitStack`.
    """
    tell = say if workers.is_chief else keep_silent

    # --- what it sees --------------------------------------------------------
    splits = sources.load(**legacy_flags.source_options())
    policy = policies.preset(**legacy_flags.policy_options())
    plan = make_plan(
        images=splits.pretrain.size,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
        steps=FLAGS.steps,
        base_lr=FLAGS.base_lr,
        warmup_epochs=FLAGS.warmup_epochs,
        embedding_dim=FLAGS.projector_dim,
        steps_per_execution=FLAGS.steps_per_execution,
    )

    # --- what learns ---------------------------------------------------------
    strategies.rows_per_replica(strategy, plan.m)  # a run would be begun first
    rates = build_schedules(plan)
    with strategy.scope():
        model = build_model(policy, rates, plan, strategy)

    for line in plan.notes + model.objective.notes:
        tell(line)
    if FLAGS.dry_run:
        dry_run(model, splits.pretrain, policy, plan, strategy, workers)
        return

    # --- what is kept --------------------------------------------------------
    flags = {
        "flags": legacy_flags.resolved(),
        "defaults": legacy_flags.defaults(),
        "ignored": legacy_flags.WHERE_AND_HOW,
    }
    record = None
    if workers.is_chief:
        card.refuse_what_stands_in_the_way(
            export, overwrite=FLAGS.overwrite, own=card.may_be_of(export, run)
        )
        record = held.enter_context(
            workdir.claim(
                run,
                **flags,
                kind=run_record.PRETRAINING,
                data={"pretraining": run_record.of_images(splits.pretrain)},
                export=export,
                overwrite=FLAGS.overwrite,
            )
        )
    workers.wait()
    if not workers.is_chief:
        workdir.join(run, **flags)
    checkpoints = Checkpoints(
        run / "checkpoints",
        keep=FLAGS.keep_checkpoints,
        model=model,
        optimizer=model.optimizer,
        means=[v.value for mean in model.metrics for v in mean.variables],
    )
    first_step, warnings = checkpoints.restore()
    for line in warnings:
        tell(line)
    workers.must_agree(first_step, f"the step that {run} goes on from")
    if workers.is_chief:
        checkpoints.tidy(first_step)

    # --- the run -------------------------------------------------------------
    exported = False
    if workers.is_chief:
        exported = first_step == plan.total_steps and saved_model.holds(
            export, model.encoder
        )
        require_own(export, record, exported)
    if workers.gather([exported])[0, 0]:  # as the chief sees it
        tell(f"{run} is finished and exported to {export}; nothing to do")
        return
    tell(f"pretraining on {splits.pretrain.description}")
    if first_step:
        tell(f"going on from step {first_step} of {plan.total_steps}")
    callbacks = build_callbacks(
        model, rates, splits, plan, checkpoints, run, first_step, workers
    )
    saver = callbacks[-1]
    with saver.kept_without_images(), bad_images.named(splits):
        for segment in segments(plan, first_step):
            model.fit(
                strategies.spread(
                    strategy,
                    functools.partial(
                        pipeline.training_batches,
                        splits.pretrain,
                        policy,
                        batch_size=plan.m,
                        seed=FLAGS.seed,
                        first_step=segment.first_step,
                        gate=saver.gate,
                    ),
                    batch_size=plan.m,
                ),
                initial_epoch=segment.initial_epoch,
                epochs=segment.epochs,
                steps_per_epoch=segment.steps_per_epoch,
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )

    # --- what remains of it --------------------------------------------------
    if workers.is_chief:
        export_encoder(model, policy, plan, run, export, record)
    workers.wait()


def require_own(export, record, exported=False):
    """Makes sure that the encoder replaces no other run's.

    A card that names no run is of a version that wrote none; then it counts
    whether the export is known to be this run's `exported` encoder.
    """
    own = card.made_by(export, record.id)
    card.refuse_what_stands_in_the_way(
        export, overwrite=FLAGS.overwrite, own=exported if own is None else own
    )


def export_encoder(model, policy, plan, run, export, record):
    """Writes the encoder and says how to load it."""
    with card.export_lock(export):
        require_own(export, record)
        saved_model.save(
            in_float32(model.encoder),
            export,
            backbone=FLAGS.backbone,
            image_size=FLAGS.image_size,
            mean=policy.mean,
            std=policy.std,
            objective=FLAGS.objective,
            dataset=FLAGS.dataset,
            steps=plan.total_steps,
            scores=last_scores(run),
            run={"id": record.id, "workdir": str(run)},
        )
    print(
        f"encoder: {export}\n"
        "    import tensorflow as tf\n"
        f'    features = tf.saved_model.load("{export}")(images)'
        "  # float32 RGB [n, h, w, 3] in [0, 1]"
    )


def build_schedules(plan):
    """What changes from step to step: functions of the step, by name."""
    rates = {
        "lr": WarmupCosine(
            plan.peak_lr,
            warmup_steps=plan.warmup_steps,
            total_steps=plan.total_steps,
        ),
    }
    if FLAGS.ema_base:
        rates["ema_momentum"] = functools.partial(
            schedules.ema_momentum,
            base=FLAGS.ema_base,
            total_steps=plan.total_steps,
        )
    return rates


def build_model(policy, rates, plan, strategy):
    """The networks, the objective and the optimizer of the flags."""
    backbone = build_backbone(FLAGS.backbone)
    projector = heads.build_projector(
        backbone.output_shape[-1],
        dim=FLAGS.projector_dim,
        layers=FLAGS.projector_layers,
    )
    predictor = None
    if FLAGS.predictor_dim:
        predictor = heads.build_predictor(
            FLAGS.projector_dim, hidden_dim=FLAGS.predictor_dim
        )
    model = SiameseModel(
        backbone,
        projector,
        predictor,
        policy=policy,
        objective=objectives.build(FLAGS.objective, FLAGS, plan),
        ema_momentum=rates.get("ema_momentum"),
        micro_batches=micro_batches.count(
            FLAGS.micro_batch_size,
            batch_size=plan.m,
            replicas=strategy.num_replicas_in_sync,
        ),
    )
    optimizer = {"sgd": SGD, "lars": LARS}[FLAGS.optimizer](
        rates["lr"], momentum=FLAGS.momentum, weight_decay=FLAGS.weight_decay
    )
    if FLAGS.precision == "mixed_float16":
        optimizer = LossScale(optimizer)
    optimizer.build(model.learned)
    model.compile(
        optimizer=optimizer,
        jit_compile=strategies.compiles_steps(
            FLAGS.jit, strategy, deterministic=FLAGS.deterministic
        ),
        steps_per_execution=plan.steps_per_execution,
    )
    return model


def dry_run(model, source, policy, plan, strategy, workers):
    """Prints what the flags amount to and tries one small step of it."""
    replicas = strategy.num_replicas_in_sync
    parts = model.micro_batches
    networks = {
        "backbone": model.backbone,
        "projector": model.projector,
        "predictor": model.predictor,
    }
    rows = [
        *table(plan, model.objective.describe(plan.m, plan.d)),
        *(
            (f"parameters of the {name}", f"{network.count_params():,}")
            for name, network in networks.items()
            if network
        ),
        ("optimizer", FLAGS.optimizer),
        ("devices", f"{replicas}: {', '.join(strategies.devices(strategy))}"),
        ("precision", FLAGS.precision),
        ("compiled by XLA", "yes" if model.jit_compile else "no"),
        ("micro-batches", f"{parts}"),
        ("steps per call", f"{plan.steps_per_execution}"),
    ]
    width = max(len(what) for what, _ in rows)
    # Some images for every micro-batch.
    small = min(-(-4 // parts) * parts * replicas, plan.m)
    model.steps_per_execution = 1
    batches = functools.partial(
        pipeline.training_batches,
        source,
        policy,
        batch_size=small,
        seed=FLAGS.seed,
    )
    logs = model.fit(
        strategies.spread(strategy, batches, batch_size=small),
        steps_per_epoch=1,
        shuffle=False,
        verbose=0,
    )
    (loss,) = logs.history["loss"]
    if not workers.is_chief:
        return
    for what, value in rows:
        print(f"{what:<{width}}  {value}")
    print(f"{f'loss of one step on {small} images':<{width}}  {loss:.4f}")


def build_callbacks(
    model, rates, splits, plan, checkpoints, run, first_step, workers
):
    """What watches the run and keeps it, in the order that each needs.

    While the chief looks at the run, the others wait for it in their savers.
    """
    history = None
    if workers.is_chief:
        history = History(
            run,
            first_step=first_step,
            at_step={**model.objective.schedules, **rates},
            logged=model.objective.logged,
        )
    saver = Saver(
        checkpoints,
        plan,
        minutes=FLAGS.checkpoint_minutes,
        each_epoch=FLAGS.checkpoint_each_epoch,
        workers=workers,
        close_epoch=history and history.close_epoch,
    )
    saver.keep_means(model)
    saver.catch_signals()
    objective = model.objective
    divergence = Divergence(
        remedy=", ".join(
            filter(
                None,
                (
                    "lower `base_lr`",
                    "lengthen `warmup_epochs`",
                    objective.remedy,
                    "and give another `workdir`",
                ),
            )
        )
    )
    if not workers.is_chief:
        return [divergence, saver]
    looks = []
    if FLAGS.knn_every_epochs:
        looks.append(
            Representation(
                *evaluation_sets(splits),
                every=FLAGS.knn_every_epochs,
                epochs=plan.epochs,
            )
        )
    return [
        Ownership(run),
        divergence,
        *looks,
        Progress(plan, plotted=objective.plotted),
        history,
        saver,
    ]


def keep_silent(line):
    """What a worker that is not the chief says to the user."""


def evaluation_sets(splits):
    """References and queries of the monitors; no queries without labels."""
    labelled = splits.references or splits.pretrain

    def batches(role, source):
        generator = np.random.default_rng(FLAGS.seed)
        chosen = np.sort(generator.permutation(source.size)[:MONITORED])
        say(f"{role}: {len(chosen):,} images of {source.description}")
        return pipeline.evaluation_batches(
            source,
            image_size=FLAGS.image_size,
            batch_size=256,
            indices=chosen,
        )

    references = batches("RankMe and kNN references", labelled)
    if splits.test is None or splits.test.multi_label:
        return references, None
    return references, batches("kNN queries", splits.test)


if __name__ == "__main__":
    legacy_command.run(main)
