import sys

import numpy as np
import pytest

from mec_tf.formats.torch_file import read_torch_file, write_torch_file

torch = pytest.importorskip("torch")


def test_what_is_written_is_read_by_us_and_by_pytorch(tmp_path):
    state_dict = {
        "conv1.weight": np.random.default_rng(0).normal(size=(2, 3, 1, 1)),
        "bn1.num_batches_tracked": np.zeros((), np.int64),
    }
    write_torch_file(tmp_path / "a.pth", state_dict)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
    theirs = torch.load(tmp_path / "a.pth", weights_only=True)
    ours = read_torch_file(tmp_path / "a.pth")
    assert theirs.keys() == ours.keys() == state_dict.keys()
    for name, array in state_dict.items():
        np.testing.assert_array_equal(theirs[name].numpy(), array, strict=True)
        np.testing.assert_array_equal(ours[name], array, strict=True)


def test_reads_the_state_dict_of_a_checkpoint(tmp_path):
    checkpoint = {"epoch": 3, "state_dict": {"fc.bias": torch.ones(2)}}
    torch.save(checkpoint, tmp_path / "checkpoint.pth.tar")
    read = read_torch_file(tmp_path / "checkpoint.pth.tar")
    np.testing.assert_array_equal(read["fc.bias"], [1.0, 1.0])


def test_reads_parameters_and_half_precision(tmp_path):
    values = torch.tensor([0.1, -3.0])
    tensors = {
        "parameter": torch.nn.Parameter(values),
        "bfloat16": values.bfloat16(),
        "float16": values.half(),
    }
    torch.save(tensors, tmp_path / "a.pth")
    read = read_torch_file(tmp_path / "a.pth")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(read[name], tensor.detach().float())


@pytest.mark.parametrize("content", [{"epoch": 3}, torch.ones(2), [1, 2]])
def test_a_file_without_state_dict_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_torch_file(tmp_path / "a.pth")


class Trap:
    def __reduce__(self):
        return print, ("this file runs code",)


def test_a_file_that_runs_code_is_refused(tmp_path, capsys):
    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(Exception, match="[Ww]eights.only"):
        read_torch_file(tmp_path / "trap.pth")
    assert "this file runs code" not in capsys.readouterr().out


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        read_torch_file(tmp_path / "a.pth")
