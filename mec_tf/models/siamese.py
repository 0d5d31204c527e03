"""Two networks that look at views of the same images: one training step.

The online network (backbone, projector, predictor) learns by gradient; the
target network (backbone, projector) follows as its moving average. Names follow
BYOL (Grill et al., 2020), which MEC (Liu et al., NeurIPS 2022) builds on.
"""

import keras
import tensorflow as tf

from mec_tf import distribute
from mec_tf.augment import photometric
from mec_tf.models import ema, micro_batches
from mec_tf.models.encoder import build_encoder
from mec_tf.models.multi_worker_fit import MultiWorkerFit
from mec_tf.models.step_mean import StepMean


@keras.saving.register_keras_serializable("mec_tf")
class SiameseModel(MultiWorkerFit):
    """Pretrains a backbone on batches of augmented views.

    Args:
        backbone: `keras.Model`, images `[n, h, w, 3]` to features `[n, k]`.
        projector: `keras.Model`, features `[n, k]` to embeddings `[n, d]`.
        predictor: `keras.Model`, `[n, d]` to `[n, d]`, or None.
        policy: `augment.policy.Policy`: what is done to each view on the
            accelerator, and the normalisation.
        criterion: Function of `(pairs, step, replicas)` that returns the loss
            and a dict of scalars to log; see `objectives.criterion`.
        ema_momentum: Function of the step, the target's momentum in [0, 1], or
            None: the target is the online network. Its embeddings are then held
            constant where there is a predictor (SimSiam); where there is none,
            the gradient flows through both branches (MEC, Algorithm 1).
        micro_batches: Parts that a replica takes of its batch one after the
            other; see `models.micro_batches`.
    """

    def __init__(
        self,
        backbone,
        projector,
        predictor,
        *,
        policy,
        criterion,
        ema_momentum,
        micro_batches=1,
    ):
        super().__init__(name="siamese")
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor
        self.policy = policy
        self.criterion = criterion
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
        self.means = {"loss": StepMean("loss")}
        for name in criterion.logged:
            self.means[name] = StepMean(name)
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
            batch: Dict with `views`, a tuple of uint8 `[n, s, s, 3]`, and
                `draws`, a tuple of float32 `[n, K]` in [0, 1): the random
                numbers of each view (see `data.pipeline`).
        """
        # A tensor: the variable moves on when the optimizer has been applied.
        step = tf.convert_to_tensor(self.optimizer.iterations)
        if self.micro_batches == 1:
            with tf.GradientTape() as tape:
                embeddings = self.embed(self.augment(batch))
                scaled_loss, logs = self.compare(*embeddings, step)
            gradients = tape.gradient(scaled_loss, self.learned)
        else:
            logs, gradients = self.by_micro_batches(batch, step)
        self.optimizer.apply(gradients, self.learned)
        if self.target is not None:
            ema.update_ema(self.target, self.online, self.ema_momentum(step))

        for name, value in logs.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

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

    def compare(self, online, targets, step):
        """The loss, multiplied by the optimizer's loss scale, and what to log.

        Each view's online embedding meets the target's embedding of every
        *other* global view (the first two): two pairs for two views, which
        symmetrises the loss, and SwAV's and DINO's pairing for multi-crop.
        Without targets, in Algorithm 1's symmetric network, a pair counts once.
        """
        pairs = [
            (online[i], held)
            for j, held in enumerate(targets or online[:2])
            for i in range(len(online))
            if (i != j if targets else i > j)
        ]
        loss, logged = self.criterion(
            pairs, step=step, replicas=distribute.current_replicas()
        )
        return self.optimizer.scale_loss(loss), {"loss": loss, **logged}

    def by_micro_batches(self, batch, step):
        """What to log and the gradients, one small part at a time."""
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
            compare=lambda online, targets: self.compare(online, targets, step),
            learned=self.learned,
            state=self.online.non_trainable_variables
            + (
                self.predictor.non_trainable_variables if self.predictor else []
            ),
        )
