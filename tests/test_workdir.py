import pytest
from conftest import left_by_the_dead

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


def test_overwrite_removes_the_old_export_before_the_new_run(tmp_path):
    # Otherwise a run that dies before its export would pass for exported.
    claim(tmp_path / "run")
    export = tmp_path / "export"
    export.mkdir()
    (export / "encoder.json").write_text("old")
    claim(tmp_path / "run", export=export)
    assert (export / "encoder.json").read_text() == "old"
    claim(tmp_path / "run", export=export, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("export", ["run", "."])
def test_an_export_would_replace_the_run_in_it(tmp_path, export):
    claim(tmp_path / "run")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="is part of --export_dir"):
            claim(
                tmp_path / "run", export=tmp_path / export, overwrite=overwrite
            )
    assert (tmp_path / "run/flags.cfg").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_flags_half_written_are_nobodys_files(tmp_path, overwrite):
    (tmp_path / "run").mkdir()
    partial = left_by_the_dead(tmp_path / "run/flags.cfg", "partial")
    partial.write_text("--epo")
    claim(tmp_path / "run", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["flags.cfg"]
