"""Two networks that look at views of the same images: one training step.

The online network (backbone, projector, predictor) learns by gradient; the
target network (backbone, projector) follows as its moving average. Names follow
BYOL (Grill et al., 2020), which MEC (Liu et al., NeurIPS 2022) builds on.
"""

import keras
import tensorflow as tf

from mec_tf import distribute
from mec_tf.augment import photometric
from mec_tf.models import ema
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
    """

    def __init__(
        self, backbone, projector, predictor, *, policy, criterion, ema_momentum
    ):
        super().__init__(name="siamese")
        self.backbone = backbone
        self.projector = projector
        self.predictor = predictor
        self.policy = policy
        self.criterion = criterion
        self.ema_momentum = ema_momentum
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

    def call(self, images, training=False):
        """Features `[n, k]` of RGB images `[n, h, w, 3]` in [0, 1]."""
        return self.encoder(images, training=training)

    def train_step(self, batch):
        """One step on a global batch of views; returns the epoch's means.

        Args:
            batch: Dict with `views`, a tuple of uint8 `[n, s, s, 3]`, and
                `draws`, a tuple of float32 `[n, K]` in [0, 1): the random
                numbers of each view (see `data.pipeline`).
        """
        step = self.optimizer.iterations
        views = [
            photometric.normalize(
                photometric.augment(images, draws, view),
                self.policy.mean,
                self.policy.std,
            )
            for images, draws, view in zip(
                batch["views"], batch["draws"], self.policy.views, strict=True
            )
        ]
        with tf.GradientTape() as tape:
            pairs = self.embedding_pairs(views)
            loss, logged = self.criterion(
                pairs, step=step, replicas=distribute.current_replicas()
            )
        gradients = tape.gradient(loss, self.learned)
        self.optimizer.apply(gradients, self.learned)
        if self.target is not None:
            ema.update_ema(self.target, self.online, self.ema_momentum(step))

        self.means["loss"].update_state(loss)
        for name, value in logged.items():
            self.means[name].update_state(value)
        return {name: mean.result() for name, mean in self.means.items()}

    def embedding_pairs(self, views):
        """Pairs (z1, z2), each `[n, d]`, that the objective compares.

        Each view's online embedding meets the target's embedding of every
        *other* global view (the first two): two pairs for two views, which
        symmetrises the loss, and SwAV's and DINO's pairing for multi-crop.
        """
        projected = [self.online(view, training=True) for view in views]
        if self.target is None and self.predictor is None:
            # Algorithm 1's symmetric network: a pair counts once.
            return [
                (projected[i], projected[j])
                for j in range(2)
                for i in range(len(views))
                if i > j
            ]
        if self.target is None:
            targets = projected[:2]
        else:
            # In training mode: the target's batch norm uses its own batch.
            targets = [self.target(view, training=True) for view in views[:2]]
        online = (
            [self.predictor(z, training=True) for z in projected]
            if self.predictor
            else projected
        )
        return [
            (online[i], tf.stop_gradient(targets[j]))
            for j in range(2)
            for i in range(len(views))
            if i != j
        ]
