"""Pretrain an image encoder without labels, then export it.

python -m mec_tf.train --flagfile=flags/digits.cfg
"""

import functools
import sys
from pathlib import Path

import keras
import numpy as np

from mec_tf import command, config, distribute, workdir
from mec_tf.augment import policy as policies
from mec_tf.checkpoint import Checkpoints
from mec_tf.command import say
from mec_tf.data import bad_images, pipeline, sources
from mec_tf.errors import UserError
from mec_tf.formats import card, saved_model
from mec_tf.models import (
    SiameseModel,
    backbones,
    build_backbone,
    heads,
    micro_batches,
)
from mec_tf.models.encoder import in_float32
from mec_tf.monitors.divergence import Divergence
from mec_tf.monitors.history import History, last_scores
from mec_tf.monitors.progress import Progress
from mec_tf.monitors.representation import Representation
from mec_tf.monitors.saver import Saver
from mec_tf.objectives import OBJECTIVES
from mec_tf.objectives.criterion import MECCriterion
from mec_tf.optimizers import LARS, SGD, LossScale, WarmupCosine, schedules
from mec_tf.plan import make_plan, segments, table

# Most images that a monitor looks at: enough for RankMe (its section 4).
MONITORED = 25_600

FLAGS = config.FLAGS
config.data(image_size=224)
config.views(policies.PRESETS)
config.model(backbones.NAMES)
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
    strategy = command.prepare_devices(compiled=FLAGS.jit == "on")
    keras.config.set_dtype_policy(FLAGS.precision)
    workers = distribute.Workers(strategy)
    with workers.losses_named():
        pretrain(run, export, strategy, workers)


def pretrain(run, export, strategy, workers):
    """One run on one worker: all do the same, and the chief writes."""
    tell = say if workers.is_chief else keep_silent

    # --- what it sees --------------------------------------------------------
    splits = sources.load(**config.source_options())
    policy = policies.preset(**config.policy_options())
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
        steps_per_execution=FLAGS.steps_per_execution,
    )

    # --- what learns ---------------------------------------------------------
    distribute.rows_per_replica(strategy, plan.m)  # a run would be begun first
    rates = build_schedules(plan)
    with strategy.scope():
        model = build_model(policy, rates, plan, strategy)

    for line in plan.notes:
        tell(line)
    if FLAGS.dry_run:
        dry_run(model, splits.pretrain, policy, plan, strategy, workers)
        return

    # --- what is kept --------------------------------------------------------
    flags, where = config.resolved(), config.WHERE_AND_HOW
    if workers.is_chief:
        card.refuse_what_stands_in_the_way(
            export,
            overwrite=FLAGS.overwrite,
            own=(run / workdir.FLAGS_FILE).exists(),
        )
        workdir.claim(
            run,
            flags,
            export=export,
            overwrite=FLAGS.overwrite,
            ignored=where,
        )
    workers.wait()
    if not workers.is_chief:
        workdir.join(run, flags, ignored=where)
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
    if first_step == plan.total_steps and export.exists():
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
                distribute.spread(
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
        export_encoder(model, policy, plan, run, export)
    workers.wait()


def export_encoder(model, policy, plan, run, export):
    """Writes the encoder and says how to load it."""
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
        "distortion": functools.partial(
            schedules.distortion_warmup,
            distortion=plan.distortion,
            warmup_steps=plan.lambda_warmup_steps,
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
    if FLAGS.ema_base == 0 and predictor is None and FLAGS.taylor_order == 1:
        raise UserError(
            "--ema_base=0 --predictor_dim=0 --taylor_order=1 is minus the mean"
            " cosine of one network with itself, which all images reach by one"
            " and the same embedding; give an order of 2 or more, 0 (exact), a"
            " predictor or a target network"
        )
    model = SiameseModel(
        backbone,
        projector,
        predictor,
        policy=policy,
        criterion=MECCriterion(
            distortion=rates["distortion"],
            order=FLAGS.taylor_order,
            form=FLAGS.mec_form,
            embedding_norm=FLAGS.embedding_norm,
            guard=FLAGS.convergence_guard,
            seed=FLAGS.seed,
        ),
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
        jit_compile=distribute.compiles_steps(
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
        *table(plan),
        *(
            (f"parameters of the {name}", f"{network.count_params():,}")
            for name, network in networks.items()
            if network
        ),
        ("optimizer", FLAGS.optimizer),
        ("devices", f"{replicas}: {', '.join(distribute.devices(strategy))}"),
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
        distribute.spread(strategy, batches, batch_size=small),
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
        history = History(run, first_step=first_step, at_step=rates)
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
    if not workers.is_chief:
        return [Divergence(), saver]
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
        Divergence(),
        *looks,
        Progress(plan),
        history,
        saver,
    ]


def keep_silent(line):
    """What a worker that is not the chief says to the user."""


def evaluation_sets(splits):
    """References and queries of the monitors; no queries without labels."""
    bank = splits.bank or splits.pretrain

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

    references = batches("RankMe and kNN references", bank)
    if splits.test is None or splits.test.multi_label:
        return references, None
    return references, batches("kNN queries", splits.test)


if __name__ == "__main__":
    command.run(main)
