"""Pretraining from a config to an exported encoder."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mec_tf import messages
from mec_tf.config.pretrain import PretrainConfig
from mec_tf.data import pipeline
from mec_tf.distribution import strategies
from mec_tf.distribution.session import session
from mec_tf.errors import UserError
from mec_tf.formats import metadata, saved_model
from mec_tf.models.encoder import in_float32
from mec_tf.pretraining.build import build
from mec_tf.pretraining.representation_monitor import RepresentationMonitor
from mec_tf.training import run_record, workdir
from mec_tf.training.callbacks import csv_logger
from mec_tf.training.callbacks.checkpoint import CheckpointCallback
from mec_tf.training.callbacks.csv_logger import MetricsLogger
from mec_tf.training.callbacks.progress_bar import ProgressBar
from mec_tf.training.callbacks.stop_on_divergence import StopOnDivergence
from mec_tf.training.callbacks.workdir_guard import WorkdirGuard
from mec_tf.training.checkpoint import Checkpoints
from mec_tf.training.fit import fit_resumable

# Most images that are scored while training: enough for RankMe (section 4).
MONITORED = 25_600


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished pretraining run.

    Attributes:
        workdir: Folder of the run.
        export_dir: Folder of the exported encoder.
        metrics: Rows of `metrics.csv`, one per epoch, as numbers by name; None
            where a field is empty.
        encoder: `keras.Model` in float32, RGB images `[n, h, w, 3]` in [0, 1]
            to features `[n, k]`; the one that was exported.
        is_chief: Whether this process is the one that wrote; of several workers
            all but one are not.
    """

    workdir: Path
    export_dir: Path
    metrics: list[dict[str, float | None]]
    encoder: keras.Model
    is_chief: bool = True


def pretrain(
    config: PretrainConfig,
    *,
    say: Callable[[str], None] = messages.say,
    catch_signals: bool = False,
) -> Run:
    """Pretrains an encoder without labels and exports it.

    An unfinished run is resumed, and a finished one left as it is, unless
    `overwrite` asks to start anew. A process may pretrain several times; its
    precision policy, determinism and signal handlers are restored afterwards.
    `KeyboardInterrupt` is passed on; the last checkpoint is intact.

    Args:
        config: Of the run. Inside the scope of a `tf.distribute.Strategy` that
            strategy is used, whatever `strategy` is.
        say: Prints a line for the user.
        catch_signals: Whether a signal such as SIGTERM ends the run after the
            current step, with a checkpoint. For mains, in the main thread.

    Returns:
        The finished run.

    Raises:
        UserError: If the config cannot be run: no such images, a workdir that
            holds something else, a loss that diverges, ...
        Interrupted: If a signal ended it, where they are caught.
    """
    if config.dry_run:
        raise UserError(
            "`dry_run` leaves nothing behind; leave it out, or call"
            " mec_tf.pretraining.dry_run.dry_run(config)"
        )
    config = config.with_default_paths(None)
    with (
        session(**session_options(config)) as here,
        contextlib.ExitStack() as stack,
    ):
        # Recorded with the value in effect, not as None.
        config = config.replace(deterministic=here.deterministic)
        return _pretrain(
            config,
            here,
            stack,
            say if here.workers.is_chief else messages.discard,
            catch_signals,
        )


def session_options(config: PretrainConfig) -> dict[str, Any]:
    """Keyword arguments of `distribution.session.session`."""
    return {
        "strategy": config.strategy,
        "logical_cpus": config.logical_cpus,
        "deterministic": config.deterministic,
        "seed": config.seed,
        "precision": config.precision,
        "compiled": config.jit == "on",
    }


def _pretrain(config, here, stack, say, catch_signals):
    """Runs on every worker alike; only the chief writes files."""
    run, export = Path(config.workdir), Path(config.export_dir)
    workers = here.workers
    built = build(config, here)
    model, schedule = built.model, built.schedule
    for line in built.notes:
        say(line)

    record = _claim(config, built.splits, workers, stack)
    checkpoints = Checkpoints(
        run / "checkpoints",
        max_to_keep=config.keep_checkpoints,
        model=model,
        optimizer=model.optimizer,
        means=[v.value for mean in model.metrics for v in mean.variables],
    )
    first_step, warnings = checkpoints.restore()
    for line in warnings:
        say(line)
    workers.must_agree(first_step, f"the step that {run} goes on from")
    if workers.is_chief:
        checkpoints.set_aside_damaged(first_step)

    exported = False
    if workers.is_chief:
        exported = first_step == schedule.total_steps and saved_model.holds(
            export, model.encoder
        )
        _require_own(config, record, exported)
    exported = bool(workers.gather([exported])[0, 0])  # as the chief sees it
    if exported:
        say(f"{run} is finished and exported to {export}; nothing to do")
    else:
        say(f"pretraining on {built.splits.pretrain.description}")
        if first_step:
            say(f"going on from step {first_step} of {schedule.total_steps}")
        callbacks = _callbacks(
            config, built, here, checkpoints, first_step, say
        )
        if catch_signals:
            callbacks[-1].catch_signals()
        _fit(config, built, here, first_step, callbacks)
    encoder = in_float32(model.encoder)
    if workers.is_chief and not exported:
        _export(config, built, encoder, record)
    workers.wait()
    rows = csv_logger.read_numbers(run / "metrics.csv")
    return Run(run, export, rows, encoder, workers.is_chief)


def _claim(config, splits, workers, stack):
    """Claims the workdir for this run until `stack` is closed.

    Returns:
        The run's record; None on workers that are not the chief.
    """
    run, export = Path(config.workdir), Path(config.export_dir)
    settings = {
        "flags": config.values(),
        "defaults": config.defaults(),
        "formerly": config.formerly(),
        "ignored": config.may_differ(),
    }
    record = None
    if workers.is_chief:
        metadata.check_export_dir(
            export,
            overwrite=config.overwrite,
            own=metadata.may_be_of(export, run),
        )
        record = stack.enter_context(
            workdir.claim(
                run,
                **settings,
                kind=run_record.PRETRAINING,
                data={"pretraining": run_record.of_images(splits.pretrain)},
                export=export,
                overwrite=config.overwrite,
            )
        )
    workers.wait()
    if not workers.is_chief:
        workdir.join(run, **settings)
    return record


def _require_own(config, record, exported=False):
    """Makes sure that the export of no other run is replaced.

    Metadata of older versions names no run; the export is then this run's if it
    holds the encoder that the run has `exported`.
    """
    export = Path(config.export_dir)
    own = metadata.made_by(export, record.id)
    metadata.check_export_dir(
        export,
        overwrite=config.overwrite,
        own=exported if own is None else own,
    )


def _callbacks(config, built, here, checkpoints, first_step, say):
    """The callbacks of a run, in the order that they need.

    While the chief scores the representation, the other workers wait for it in
    their checkpoint callbacks.
    """
    run, model, workers = Path(config.workdir), built.model, here.workers
    objective = model.objective
    log = None
    if workers.is_chief:
        log = MetricsLogger(
            run,
            first_step=first_step,
            at_step={**objective.schedules, **built.rates},
            logged=objective.logged,
        )
    checkpointing = CheckpointCallback(
        checkpoints,
        built.schedule,
        minutes=config.checkpoint_minutes,
        each_epoch=config.checkpoint_each_epoch,
        workers=workers,
        close_epoch=log and log.close_epoch,
    )
    checkpointing.keep_means(model)
    remedies = (
        "lower `base_lr`",
        "lengthen `warmup_epochs`",
        objective.remedy,
        "and give another `workdir`",
    )
    stop_on_divergence = StopOnDivergence(
        remedy=", ".join(filter(None, remedies))
    )
    if not workers.is_chief:
        return [stop_on_divergence, checkpointing]
    monitors = []
    if config.knn_every_epochs:
        monitors.append(
            RepresentationMonitor(
                *_evaluation_sets(config, built.splits, say),
                every=config.knn_every_epochs,
                epochs=built.schedule.epochs,
            )
        )
    return [
        WorkdirGuard(run),
        stop_on_divergence,
        *monitors,
        ProgressBar(built.schedule, plotted=objective.plotted),
        log,
        checkpointing,
    ]


def _evaluation_sets(config, splits, say):
    """References and queries of the monitors; no queries without labels."""
    source = splits.references or splits.pretrain

    def batches(role, source):
        generator = np.random.default_rng(config.seed)
        chosen = np.sort(generator.permutation(source.size)[:MONITORED])
        say(f"{role}: {len(chosen):,} images of {source.description}")
        return pipeline.evaluation_batches(
            source,
            image_size=config.image_size,
            batch_size=256,
            indices=chosen,
        )

    references = batches("RankMe and kNN references", source)
    if splits.test is None or splits.test.multi_label:
        return references, None
    return references, batches("kNN queries", splits.test)


def _fit(config, built, here, first_step, callbacks):
    batch_size = built.schedule.batch_size

    def batches(*, first_step, gate):
        return strategies.spread(
            here.strategy,
            functools.partial(
                pipeline.training_batches,
                built.splits.pretrain,
                built.policy,
                batch_size=batch_size,
                seed=config.seed,
                first_step=first_step,
                gate=gate,
            ),
            batch_size=batch_size,
        )

    fit_resumable(
        built.model,
        batches,
        built.schedule,
        first_step,
        callbacks,
        sources=built.splits,
    )


def _export(config, built, encoder, record):
    """Writes the encoder."""
    export = Path(config.export_dir)
    with metadata.export_lock(export):
        _require_own(config, record)
        saved_model.save(
            encoder,
            export,
            backbone=config.backbone,
            image_size=config.image_size,
            mean=built.policy.mean,
            std=built.policy.std,
            objective=config.objective,
            dataset=config.dataset,
            steps=built.schedule.total_steps,
            scores=csv_logger.last_scores(Path(config.workdir)),
            run={"id": record.id, "workdir": config.workdir},
        )
