"""Whether XLA compiles the function being traced: it lacks some kernels."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def xla_compiles() -> bool:
    """Whether the function being traced is going to be compiled by XLA.

    TensorFlow knows while it traces, but has no public way to ask.
    """
    return control_flow_util.GraphOrParentsInXlaContext(
        tf.compat.v1.get_default_graph()
    )
