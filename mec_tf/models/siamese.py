"""The Siamese model: online and target network, and one training step.

The online network (backbone, projector, predictor) learns by gradient; the
target network (backbone, projector) follows as its moving average. Names follow
BYOL (Grill et al., 2020), which MEC (Liu et al., NeurIPS 2022) builds on.
"""

import keras
import tensorflow as tf

from mec_tf.augment import photometric
from mec_tf.distribution import strategies
from mec_tf.models import ema, micro_batches
from mec_tf.models.encoder import build_encoder
from mec_tf.models.multi_worker_fit import MultiWorkerFit
from mec_tf.models.step_mean import StepMean
from mec_tf.objectives.objective import Embeddings, check_needs


class SiameseModel(MultiWorkerFit):
    """Pretrains a backbone on batches of augmented views.

    It is not serialisable: `checkpoint.Checkpoints` saves its state, and its
    `encoder` is what is exported.

    Args:
        backbone: `keras.Model`, images `[n, h, w, 3]` to features `[n, k]`.
        projector: `keras.Model`, features `[n, k]` to embeddings `[n, d]`.
        predictor: `keras.Model`, `[n, d]` to `[n, d]`, or None.
        policy: `augment.policy.Policy`: the augmentations of each view on the
            accelerator, and the normalisation.
        objective: `objectives.Objective`: the loss of the embeddings.
        ema_momentum: Function of the step, the target's momentum in [0, 1], or
            None: the target is the online network. Its embeddings are then held
            constant where there is a predictor (SimSiam); where there is none,
            the gradient flows through both branches (MEC, Algorithm 1).
        micro_batches: Parts that a replica takes of its batch one after the
            other; see `models.micro_batches`.

    Raises:
        UserError: If the objective needs a target or a predictor that is not
            there.
    """

    def __init__(
        self,
        backbone,
        projector,
        predictor,
        *,
        policy,
        objective,
        ema_momentum,
        micro_batches=1,
    ):
        super().__init__(name="siamese")
        check_needs(
            objective,
            target=ema_momentum is not None,
            predictor=predictor is not None,
        )
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor
        self.policy = policy
        self.ema_momentum = ema_momentum
        self.micro_batches = micro_batches
        self.online = keras.Model(
            backbone.input, projector(backbone.output), name="online"
        )
        self.target = ema.copy_as_target(self.online) if ema_momentum else None
        self.encoder = build_encoder(backbone, mean=policy.mean, std=policy.std)
        self.learned = self.online.trainable_variables + (
            predictor.trainable_variables if predictor else []
        )
        # Last: checkpoints number the parts of a model.
        self.objective = objective
        if not objective.built:
            objective.build((None, projector.output_shape[-1]))
        self.means = {
            name: StepMean(name) for name in ("loss", *objective.logged)
        }
        self.built = True

    @property
    def metrics(self):
        """The running means that `fit` resets at each epoch."""
        return list(self.means.values())

    @property
    def steps_taken(self):
        """Training steps so far, an int."""
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations))

    @steps_taken.setter
    def steps_taken(self, step):
        self.optimizer.iterations.assign(step)

    def call(self, images, training=False):
        """Features `[n, k]` of RGB images `[n, h, w, 3]` in [0, 1]."""
        return self.encoder(images, training=training)

    @tf.autograph.experimental.do_not_convert  # nothing to convert, in seconds
    def train_step(self, batch):
        """One step on a global batch of views; returns the epoch's means.

        Args:
            batch: Dict with `views`, a tuple of uint8 `[n, s, s, 3]`,
                `draws`, a tuple of float32 `[n, K]` in [0, 1): the random
                numbers of each view (see `data.pipeline`), and perhaps
                `label`, for objectives that learn from labels.
        """
        # A tensor: the variable moves on when the optimizer has been applied.
        step = tf.convert_to_tensor(self.optimizer.iterations)
        if self.micro_batches == 1:
            with tf.GradientTape() as tape:
                online, targets = self.embed(self.augment(batch))
                scaled_loss, passed = self.compare(online, targets, batch, step)
            gradients = tape.gradient(scaled_loss, self.learned)
        else:
            passed, gradients = self.by_micro_batches(batch, step)
        embeddings, logs = passed
        self.optimizer.apply(gradients, self.learned)
        if self.target is not None:
            ema.update_ema(self.target, self.online, self.ema_momentum(step))
        self.objective.update(
            embeddings, step=step, replicas=strategies.current_replicas()
        )

        for name, value in logs.items():
            self.means[name].update_state(value)
        return {name: self.means[name].result() for name in logs}

    def augment(self, batch):
        """Normalised views, float32 `[n, s, s, 3]` each, of a batch."""
        return [
            photometric.normalize(
                photometric.augment(images, draws, view),
                self.policy.mean,
                self.policy.std,
            )
            for images, draws, view in zip(
                batch["views"], batch["draws"], self.policy.views, strict=True
            )
        ]

    def embed(self, views):
        """Embeddings `[n, d]` that learn, and those that they learn from.

        Returns:
            (online, targets): two lists: of every view, through the predictor
            where there is one; of the two global views (the first), held
            constant, or none where the online embeddings meet each other.
        """
        projected, online = self.embed_online(views)
        if self.target is not None:
            # In training mode: the target's batch norm uses its own batch.
            projected = [self.target(view, training=True) for view in views[:2]]
        elif self.predictor is None:
            return online, []
        return online, [tf.stop_gradient(z) for z in projected[:2]]

    def embed_online(self, views):
        """Embeddings of views, `[n, d]` each: (projected, online).

        `online` went through the predictor, too, where there is one.
        """
        projected = [self.online(view, training=True) for view in views]
        if self.predictor is None:
            return projected, projected
        return projected, [self.predictor(z, training=True) for z in projected]

    def compare(self, online, targets, batch, step):
        """The loss of a whole batch, its embeddings and what to log.

        Args:
            online: Embeddings that learn, `[n, d]` per view.
            targets: Those that they learn from; none: they meet one another.
            batch: As `train_step` gets it.
            step: Integer scalar.

        Returns:
            (scaled loss, (`Embeddings`, logs)): the loss multiplied by the
            optimizer's loss scale; logs are scalars by name.
        """
        embeddings = Embeddings(online, targets or None, batch.get("label"))
        loss, logged = self.objective(
            embeddings, step=step, replicas=strategies.current_replicas()
        )
        logs = {"loss": loss, **logged}
        return self.optimizer.scale_loss(loss), (embeddings, logs)

    def by_micro_batches(self, batch, step):
        """As `compare`, with gradients, computed in micro-batches."""
        embedding = tf.TensorSpec(
            [
                batch["views"][0].shape[0] // self.micro_batches,
                self.projector.output_shape[-1],
            ],
            self.projector.output.dtype,
        )
        symmetric = self.target is None and self.predictor is None
        return micro_batches.loss_and_gradients(
            {name: batch[name] for name in ("views", "draws")},
            parts=self.micro_batches,
            augment=self.augment,
            embed=self.embed,
            embed_online=lambda view: self.embed_online([view])[1][0],
            signature=(
                [embedding] * len(batch["views"]),
                [] if symmetric else [embedding] * 2,
            ),
            compare=lambda *both: self.compare(*both, batch, step),
            learned=self.learned,
            state=self.online.non_trainable_variables
            + (
                self.predictor.non_trainable_variables if self.predictor else []
            ),
        )
