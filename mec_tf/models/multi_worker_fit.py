"""`Model.fit` under several workers, which Keras 3 cannot do by itself.

https://github.com/keras-team/keras/issues/20585 (open with Keras 3.15): under
`MultiWorkerMirroredStrategy` `fit` ends in an error at two places. This file
goes when the issue does.
"""

import keras
import tensorflow as tf


class MultiWorkerFit(keras.Model):
    """A model, built beforehand, whose `fit` also works with several workers.

    `train_step` has to return the same numbers on each replica.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # First place: it averages a batch over the replicas, outside of any
        # function, only to learn shapes. There is nothing left to build.
        if not self._spans_workers():
            super()._maybe_symbolic_build(iterator, data_batch)

    def make_train_function(self, force=False):
        """Makes the function that `fit` calls on its iterator."""
        if not self._spans_workers():
            return super().make_train_function(force)
        # Second place: it averages the logs over the axis that scalars lack,
        # and over the workers, at one all-reduce for each. Every replica has
        # the same logs: the first one's do.
        if force or self.train_function is None:
            self.train_function = self._make_steps()
        return self.train_function

    def _spans_workers(self):
        return isinstance(
            self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy
        )

    def _make_steps(self):
        strategy = self.distribute_strategy

        def first(value):
            return strategy.experimental_local_results(value)[0]

        @tf.autograph.experimental.do_not_convert
        def one_step(batch):
            logs = strategy.run(self.train_step, args=(batch,))
            return {name: first(value) for name, value in logs.items()}

        one_step = tf.function(
            one_step, reduce_retracing=True, jit_compile=self.jit_compile
        )

        @tf.autograph.experimental.do_not_convert
        def steps(iterator):
            for _ in range(self.steps_per_execution - 1):
                one_step(next(iterator))
            return one_step(next(iterator))

        return tf.function(steps, reduce_retracing=True)
