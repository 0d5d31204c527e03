"""The mean over an epoch's steps of a number that all replicas share."""

import keras


class StepMean(keras.metrics.Mean):
    """`keras.metrics.Mean` of values that are equal on every replica.

    Keras' own adds up over replicas whenever it is read: one all-reduce for
    each variable, and a checkpoint whose counts depend on the number of
    replicas that wrote it. Here the first replica speaks for all.
    """

    def add_variable(
        self, shape, initializer, dtype=None, aggregation=None, name=None
    ):
        """Adds a variable of which every replica has the same value."""
        return super().add_variable(
            shape,
            initializer,
            dtype=dtype,
            aggregation="only_first_replica",
            name=name,
        )
