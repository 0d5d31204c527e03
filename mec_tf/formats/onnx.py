"""Encoders as ONNX graphs, for runtimes without TensorFlow."""

from pathlib import Path

import keras
import tensorflow as tf

from mec_tf.errors import MissingPackage
from mec_tf.files.atomic import replaced_file


def write_onnx(encoder: keras.Model, path: Path) -> None:
    """Writes an encoder as an ONNX graph with free n, h and w.

    Batch norm is in inference mode and folded into the convolutions. The file
    appears whole or not at all.

    Args:
        encoder: A callable from float32 images `[n, h, w, 3]` to features
            `[n, d]`, or to a dict of outputs: a `keras.Model` or a layer,
            called with `training=False`.
        path: The file to write; replaced if it exists. Its graph has the input
            "images", `[n, h, w, 3]`, and the output "features", or the dict's.

    Raises:
        MissingPackage: If `tf2onnx` is not installed.
    """
    try:
        import tf2onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingPackage(
            "Writing ONNX needs the package tf2onnx, which is not installed. "
            "Run: pip install 'tf2onnx>=1.17'"
        ) from error

    images = tf.TensorSpec([None, None, None, 3], tf.float32, name="images")

    @tf.function(input_signature=[images])
    def serve(images):
        outputs = encoder(images, training=False)
        if not isinstance(outputs, dict):
            outputs = {"features": outputs}
        return {name: tf.cast(x, tf.float32) for name, x in outputs.items()}

    model, _ = tf2onnx.convert.from_function(serve, input_signature=[images])
    # Constants that the function captured, such as the normalisation, come out
    # as inputs without a value: make them constants again.
    function = serve.get_concrete_function()
    used = {name for node in model.graph.node for name in node.input}
    for captured, value in zip(
        function.inputs[1:], function.captured_inputs, strict=True
    ):
        if captured.name in used:
            model.graph.initializer.append(
                numpy_helper.from_array(value.numpy(), captured.name)
            )
    del model.graph.input[1:]
    with replaced_file(path) as partial:
        partial.write_bytes(model.SerializeToString())
