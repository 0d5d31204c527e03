import pytest
import tensorflow as tf
from conftest import left_by_the_dead

from mec_tf.training import checkpoint
from mec_tf.training.checkpoint import Checkpoints


def run(folder, max_to_keep=3, **variables):
    weights = {name: tf.Variable(value) for name, value in variables.items()}
    return Checkpoints(folder, max_to_keep=max_to_keep, **weights), weights


def test_round_trip_and_the_newest_stay(tmp_path):
    saved, weights = run(tmp_path, max_to_keep=2, w=[1.0, 2.0])
    for step in (3, 7, 12):
        weights["w"].assign([step, -step])
        saved.save(step)
    assert saved.steps() == [7, 12]
    again, weights = run(tmp_path, w=[0.0, 0.0])
    assert again.restore() == (12, [])
    assert weights["w"].numpy().tolist() == [12, -12]


def test_nothing_to_restore(tmp_path):
    assert run(tmp_path, w=1.0)[0].restore() == (0, [])


# What may stand in a manifest instead, by kind of damage.
MANIFESTS = {"cut": "{", "list": "[]", "number": '{"sha256": 5}'}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", *MANIFESTS])
def test_a_damaged_newest_is_passed_over_and_named(tmp_path, damage):
    saved, weights = run(tmp_path, w=tf.range(1000.0))
    saved.save(1)
    weights["w"].assign(tf.zeros(1000))
    saved.save(2)
    folder = tmp_path / "step-00000002"
    data = next(folder.glob("*.data-*"))
    content = bytearray(data.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "truncate":
        data.write_bytes(content[:-1])
    elif damage == "remove":
        data.unlink()
    else:
        (folder / checkpoint.MANIFEST).write_text(MANIFESTS[damage])
    again, weights = run(tmp_path, max_to_keep=1, w=tf.zeros(1000))
    step, (warning,) = again.restore()
    assert step == 1
    assert "step-00000002 is damaged" in warning
    assert "set aside as damaged-step-00000002" in warning
    assert weights["w"][-1] == 999
    # It does not push the good ones out, however few stay.
    again.set_aside_damaged(step)
    assert again.steps() == [1]
    assert (tmp_path / "damaged-step-00000002").is_dir()
    weights["w"].assign(tf.ones(1000))
    again.save(2)
    again.set_aside_damaged(2)
    assert again.steps() == [2]
    assert run(tmp_path, w=tf.zeros(1000))[0].restore() == (2, [])


def test_what_a_killed_process_left_is_removed(tmp_path):
    saved, _ = run(tmp_path, w=1.0)
    saved.save(3)
    saved.save(4)
    former = left_by_the_dead(tmp_path / "step-00000004", "former")
    (tmp_path / "step-00000004").rename(former)
    partial = left_by_the_dead(tmp_path / "step-00000005", "partial")
    partial.mkdir()
    (partial / "state.index").write_text("")
    again, _ = run(tmp_path, w=0.0)
    # What it had moved aside to replace it was the newest, and is again.
    assert again.restore() == (4, [])
    again.set_aside_damaged(4)
    assert again.steps() == [3, 4]
    assert len(list(tmp_path.iterdir())) == 2


def test_other_folders_are_no_checkpoints(tmp_path):
    saved, _ = run(tmp_path, w=1.0)
    saved.save(3)
    for name in ("step-x", "step-00000009.bak", "step-4"):
        (tmp_path / name).mkdir()
    again, _ = run(tmp_path, w=0.0)
    assert again.restore() == (3, [])
    again.set_aside_damaged(3)
    assert (tmp_path / "step-00000009.bak").exists()


def test_all_damaged_is_an_error_and_removes_nothing(tmp_path):
    saved, _ = run(tmp_path, w=1.0)
    saved.save(1)
    (tmp_path / "step-00000001" / checkpoint.MANIFEST).unlink()
    with pytest.raises(ValueError, match="no checkpoint .* is intact"):
        run(tmp_path, w=1.0)[0].restore()
    assert (tmp_path / "step-00000001").exists()


@pytest.mark.parametrize(
    "other", [{"w": [1.0, 2.0, 3.0]}, {"w": [1.0, 2.0], "more": 1.0}]
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, other):
    run(tmp_path, w=[1.0, 2.0])[0].save(5)
    with pytest.raises(ValueError, match="is of another model"):
        run(tmp_path, **other)[0].restore()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    saved, weights = run(tmp_path, w=1.0)
    saved.save(1)

    def full(path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("mec_tf.files.atomic._sync", full)
    weights["w"].assign(2.0)
    with pytest.raises(OSError, match="step 2 could not be written.*No space"):
        saved.save(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001"]
    assert run(tmp_path, w=0.0)[0].restore() == (1, [])
