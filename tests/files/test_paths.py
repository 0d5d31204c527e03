"""`~` and `~user` are homes in every flag that holds a path."""

import os

import pytest

from mec_tf.files.home import expanded

HOME = os.path.expanduser("~")


def test_homes_are_written_out_also_in_lists():
    assert expanded("~/a") == f"{HOME}/a"
    assert expanded("~") == HOME
    assert expanded("~root/a,b,~/c") == (
        f"{os.path.expanduser('~root')}/a,b,{HOME}/c"
    )
    for other in ("random:resnet50", "pixels", "a/~b", "./~b", "", "gs://b/~"):
        assert expanded(other) == other


def test_a_user_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="~nobody-here is no user"):
        expanded("runs/x,~nobody-here/y")


def test_every_path_flag_of_every_main(run_lines, tmp_path):
    (tmp_path / "homes.cfg").write_text(
        "--workdir=~nobody-here/x\n--dataset=digits\n"
    )
    (train, in_file), evaluated, exported = (
        run_lines(main, lines, cwd=tmp_path)
        for main, lines in {
            "train": [
                ["--data_dir=~nobody-here/x"],
                ["--flagfile=homes.cfg"],
            ],
            "evaluate": [
                ["--encoder=pixels", f"--{name}=~nobody-here/x"]
                for name in (
                    "encoder",
                    "data_dir",
                    "workdir",
                    "output",
                    "feature_cache",
                    "split_file",
                )
            ],
            "export": [
                [f"--{name}=~nobody-here/x"]
                for name in ("workdir", "encoder", "from_torch", "export_dir")
            ],
        }.items()
    )
    for ended in (train, in_file, *evaluated, *exported):
        assert ended.code == 2, ended.err
        assert "~nobody-here" in ended.last_line
    assert "workdir" in in_file.last_line
    assert not (tmp_path / "~nobody-here").exists()
