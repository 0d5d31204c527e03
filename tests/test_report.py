"""Pictures of the views and runs that the command line names."""

import shutil

from conftest import SMALL

MISTAKES = {
    "texts holds no run": ["--workdir=texts"],
    "nothing to draw": [],
    # What preset a flagfile names is no request to see it.
    "give --workdir=RUN or --views": ["--flagfile=small.cfg"],
}
SAME = {
    "small_views.png": ["--views", "--flagfile=small.cfg"],
    "digits_views.png": [*SMALL, "--views=digits"],
    "plain/figures/views.png": ["--workdir=plain", "--views"],
}
# The command line has the last word, not the run's flags.
OTHER = {
    "seed/figures/views.png": ["--workdir=seed", "--views", "--seed=1"],
    "still/figures/views.png": ["--workdir=still", "--views=none"],
    "linear/figures/views.png": [
        "--workdir=linear",
        "--views",
        "--crop_interpolation=bilinear",
    ],
}


def test_pictures_are_of_what_the_command_line_names(
    small_run, run_lines, tmp_path
):
    folder, _ = small_run
    shutil.copy(folder / "small.cfg", tmp_path)
    (tmp_path / "texts").mkdir()
    for name in ("plain", "seed", "still", "linear"):
        shutil.copytree(folder / "runs/small", tmp_path / name)
    lines = MISTAKES | SAME | OTHER
    ended = run_lines("report", list(lines.values()), cwd=tmp_path)
    ended = dict(zip(lines, ended, strict=True))
    for message in MISTAKES:
        assert ended[message].code == 1
        assert message in ended[message].last_line
        assert "Traceback" not in ended[message].err
    for path in SAME | OTHER:
        assert ended[path].code == 0, ended[path].err
        assert f"views: {path}" in ended[path].out
    (same,) = {(tmp_path / path).read_bytes() for path in SAME}
    others = {(tmp_path / path).read_bytes() for path in OTHER}
    assert len(others - {same}) == len(OTHER)
    assert (tmp_path / "plain/figures/curves.png").exists()
