import pytest

from mec_tf import workdir

FLAGS = {"epochs": 3, "strategy": "auto", "data_dir": None}


def claim(path, flags=FLAGS, **options):
    options = {"export": path / "no_export", "overwrite": False} | options
    workdir.claim(path, flags, ignored=("strategy",), **options)


def test_a_claim_can_be_taken_up_again(tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run/metrics.csv").write_text("kept")
    claim(tmp_path / "run", FLAGS | {"strategy": "mirrored"})
    assert (tmp_path / "run/metrics.csv").read_text() == "kept"


def test_flags_are_written_without_those_unset(tmp_path):
    claim(tmp_path / "run")
    assert workdir.read_flags(tmp_path / "run/flags.cfg") == {
        "epochs": "3",
        "strategy": "auto",
    }


@pytest.mark.parametrize("change", [{"epochs": 4}, {"data_dir": "x"}])
def test_other_flags_are_named(tmp_path, change):
    claim(tmp_path / "run")
    (name,) = change
    with pytest.raises(ValueError, match=f"--{name} was .* and is now"):
        claim(tmp_path / "run", FLAGS | change)


def test_overwrite_removes_a_run_and_nothing_else(tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run/old").write_text("")
    claim(tmp_path / "run", FLAGS | {"epochs": 4}, overwrite=True)
    assert not (tmp_path / "run/old").exists()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_text("")
    with pytest.raises(ValueError, match="holds files but no run"):
        claim(tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos/a.jpg").exists()


def test_somebody_elses_export_is_not_replaced(tmp_path):
    (tmp_path / "export").mkdir()
    with pytest.raises(ValueError, match="--export_dir=.* exists"):
        claim(tmp_path / "run", export=tmp_path / "export")
    assert not (tmp_path / "run").exists()
    claim(tmp_path / "run", export=tmp_path / "export", overwrite=True)
