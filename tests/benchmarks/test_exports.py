"""The benchmarks of exports run, on one small export."""

import numpy as np
import pytest

from benchmarks import fine_tuning, routes, serving
from benchmarks.fine_tuning_loop import accuracies


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    folder = tmp_path_factory.mktemp("routes")
    return folder, routes.measure("resnet_tiny", [], folder)


def test_routes_agree(measured):
    _, found = measured
    differences = routes.differences(found)
    assert differences.pop("torchvision in PyTorch") is None
    assert len(differences) == 6
    assert all(difference < 1e-5 for difference in differences.values())


def test_every_way_to_serve_is_timed(measured):
    folder, _ = measured
    (folder / "onnx/encoder.onnx").rename(folder / "saved_model/encoder.onnx")
    sizes = serving.sizes(folder / "saved_model")
    assert all(size > 0 for size in sizes.values()) and len(sizes) == 4
    encoder = routes.loading.untrained("resnet_tiny").encoder
    calls = serving.requests(encoder, folder / "saved_model", 1)
    times = serving.cpu_seconds(calls, 1)
    assert len(times) == 4 and all(taken > 0 for taken in times.values())


def test_every_route_fine_tunes(measured, tmp_path):
    folder, _ = measured
    digits = dict(np.load(fine_tuning.labelled_digits(tmp_path)))
    few = {name: values[:200] for name, values in digits.items()}
    for route in fine_tuning.ROUTES.values():
        (accuracy,) = accuracies(
            route, folder / "saved_model", few, seeds=1, epochs=1
        )
        assert 0 <= accuracy <= 1
