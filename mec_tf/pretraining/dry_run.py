"""Dry run: prints what a config amounts to and tries one step."""

import functools
from collections.abc import Callable

from mec_tf import messages
from mec_tf.config.pretrain import PretrainConfig
from mec_tf.data import pipeline
from mec_tf.distribution import strategies
from mec_tf.distribution.session import session
from mec_tf.pretraining.build import build
from mec_tf.pretraining.run import session_options


def dry_run(
    config: PretrainConfig, *, say: Callable[[str], None] = messages.say
) -> list[tuple[str, str]]:
    """Takes one training step on a few images; writes no files.

    Args:
        config: Of the run.
        say: Prints a line for the user.

    Returns:
        Lines (what, value); none on workers that are not the chief.

    Raises:
        UserError: As `pretraining.run.pretrain`, up to its first step.
    """
    with session(**session_options(config)) as here:
        built = build(config, here)
        for line in built.notes:
            (say if here.workers.is_chief else messages.discard)(line)
        rows = _rows(config, built, here)
        images, loss = _one_step(config, built, here)
    if not here.workers.is_chief:
        return []
    return [*rows, (f"loss of one step on {images} images", f"{loss:.4f}")]


def _rows(config, built, here):
    schedule, model = built.schedule, built.model
    networks = {
        "backbone": model.backbone,
        "projector": model.projector,
        "predictor": model.predictor,
    }
    m, d = schedule.batch_size, config.projector_dim
    names = ", ".join(strategies.devices(here.strategy))
    replicas = here.strategy.num_replicas_in_sync
    total, epochs = schedule.total_steps, schedule.epochs
    return [
        ("training images", f"{schedule.images:,}"),
        ("m, batch size over all devices", f"{m:,}"),
        ("d, embedding dimension", f"{d:,}"),
        *model.objective.describe(m, d),
        ("steps per epoch", f"{schedule.steps_per_epoch:,}"),
        ("total steps", f"{total:,} ({epochs:,} epochs)"),
        ("warm-up steps of the rate", f"{built.warmup_steps:,}"),
        ("peak learning rate", f"{schedule.peak_lr(config.base_lr):g}"),
        *(
            (f"parameters of the {name}", f"{network.count_params():,}")
            for name, network in networks.items()
            if network
        ),
        ("optimizer", config.optimizer),
        ("devices", f"{replicas}: {names}"),
        ("precision", config.precision),
        ("compiled by XLA", "yes" if model.jit_compile else "no"),
        ("micro-batches", f"{model.micro_batches}"),
        ("steps per call", f"{schedule.steps_per_execution}"),
    ]


def _one_step(config, built, here):
    """Trains one step on some images for every micro-batch: (images, loss)."""
    model, parts = built.model, built.model.micro_batches
    replicas = here.strategy.num_replicas_in_sync
    images = min(-(-4 // parts) * parts * replicas, built.schedule.batch_size)
    model.steps_per_execution = 1
    batches = functools.partial(
        pipeline.training_batches,
        built.splits.pretrain,
        built.policy,
        batch_size=images,
        seed=config.seed,
    )
    logs = model.fit(
        strategies.spread(here.strategy, batches, batch_size=images),
        steps_per_epoch=1,
        shuffle=False,
        verbose=0,
    )
    (loss,) = logs.history["loss"]
    return images, loss
