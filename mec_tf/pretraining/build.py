"""Builds data, schedule, model and optimizer of a `PretrainConfig`."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from mec_tf import objectives
from mec_tf.augment import policy as policies
from mec_tf.augment.policy import Policy
from mec_tf.config.pretrain import PretrainConfig
from mec_tf.data import sources
from mec_tf.data.sources import Splits
from mec_tf.distribution import session, strategies
from mec_tf.models import (
    SiameseModel,
    build_backbone,
    heads,
    micro_batches,
)
from mec_tf.optimizers import LARS, SGD, LossScale, WarmupCosine, schedules
from mec_tf.training.schedule import Schedule, make_schedule

_OPTIMIZERS = {"sgd": SGD, "lars": LARS}


class Built(NamedTuple):
    """Data, schedule and model of a run.

    Attributes:
        splits: Images to train on, and labelled ones to score on.
        policy: Augmentations of the views.
        schedule: Batch size, steps and epochs.
        warmup_steps: Steps over which the learning rate rises.
        rates: Name to function of the step: learning rate and EMA momentum, as
            logged to `metrics.csv`.
        model: Compiled, untrained.
        notes: Messages about settings that had to be adjusted.
    """

    splits: Splits
    policy: Policy
    schedule: Schedule
    warmup_steps: int
    rates: dict[str, Callable]
    model: SiameseModel
    notes: tuple[str, ...]


def build(config: PretrainConfig, here: session.Session) -> Built:
    """Finds the images of a config and builds the model to train on them.

    Args:
        config: Of the run.
        here: The session to compute in; its precision policy is in effect.

    Raises:
        UserError: If there are no such images, or they are too few; or if the
            devices cannot share a batch.
    """
    splits = sources.load(**config.source_options())
    policy = policies.preset(**config.policy_options())
    schedule = make_schedule(
        splits.pretrain.size,
        batch_size=config.batch_size,
        epochs=config.epochs,
        steps=config.steps,
        steps_per_execution=config.steps_per_execution,
    )
    warmup_steps, notes = schedule.warmup("warmup_epochs", config.warmup_epochs)
    strategies.rows_per_replica(here.strategy, schedule.batch_size)
    rates = _rates(config, schedule, warmup_steps)
    with here.strategy.scope():
        model = _model(config, policy, schedule, rates, here)
    return Built(
        splits,
        policy,
        schedule,
        warmup_steps,
        rates,
        model,
        (*notes, *schedule.notes, *model.objective.notes),
    )


def _rates(config, schedule, warmup_steps):
    rates = {
        "lr": WarmupCosine(
            schedule.peak_lr(config.base_lr),
            warmup_steps=warmup_steps,
            total_steps=schedule.total_steps,
        ),
    }
    if config.ema_base:
        rates["ema_momentum"] = functools.partial(
            schedules.ema_momentum,
            base=config.ema_base,
            total_steps=schedule.total_steps,
        )
    return rates


def _model(config, policy, schedule, rates, here):
    backbone = build_backbone(config.backbone)
    projector = heads.build_projector(
        backbone.output_shape[-1],
        dim=config.projector_dim,
        layers=config.projector_layers,
    )
    predictor = None
    if config.predictor_dim:
        predictor = heads.build_predictor(
            config.projector_dim, hidden_dim=config.predictor_dim
        )
    model = SiameseModel(
        backbone,
        projector,
        predictor,
        policy=policy,
        objective=objectives.build(config.objective, config, schedule),
        ema_momentum=rates.get("ema_momentum"),
        micro_batches=micro_batches.count(
            config.micro_batch_size,
            batch_size=schedule.batch_size,
            replicas=here.strategy.num_replicas_in_sync,
        ),
    )
    optimizer = _OPTIMIZERS[config.optimizer](
        rates["lr"],
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    if config.precision == "mixed_float16":
        optimizer = LossScale(optimizer)
    optimizer.build(model.learned)
    model.compile(
        optimizer=optimizer,
        jit_compile=strategies.compiles_steps(
            config.jit, here.strategy, deterministic=here.deterministic
        ),
        steps_per_execution=schedule.steps_per_execution,
    )
    return model
