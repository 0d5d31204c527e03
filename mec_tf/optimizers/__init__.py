"""LARS, SGD with coupled decay, loss scaling, and the per-step schedules."""

from mec_tf.optimizers.lars import LARS as LARS
from mec_tf.optimizers.loss_scale import LossScale as LossScale
from mec_tf.optimizers.schedules import WarmupCosine as WarmupCosine
from mec_tf.optimizers.schedules import ema_momentum as ema_momentum
from mec_tf.optimizers.sgd import SGD as SGD
