import sys

import numpy as np
import pytest

from mec_tf.formats.onnx import write_onnx
from mec_tf.models import build_backbone


def test_onnxruntime_computes_the_same_features(tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    backbone = build_backbone("resnet_tiny")
    for weight in backbone.weights:
        if len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    write_onnx(backbone, tmp_path / "encoder.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["encoder.onnx"]
    session = onnxruntime.InferenceSession(
        tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"]
    )
    for size in [(1, 32, 32), (3, 45, 33)]:
        images = rng.normal(size=(*size, 3)).astype(np.float32)
        (features,) = session.run(["features"], {"images": images})
        expected = np.asarray(backbone(images))
        assert features.shape == expected.shape
        difference = np.abs(features - expected).max()
        assert difference < 1e-4 * np.abs(expected).max()


def test_without_tf2onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(ImportError, match="pip install 'tf2onnx"):
        write_onnx(build_backbone("resnet_tiny"), tmp_path / "encoder.onnx")
