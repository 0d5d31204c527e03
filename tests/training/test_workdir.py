import json
import os

import pytest

from mec_tf.errors import UserError
from mec_tf.training import workdir
from mec_tf.training.run_record import EVALUATION, PRETRAINING, RECORD_FILE

FLAGS = {
    "epochs": 3,
    "strategy": "auto",
    "data_dir": None,
    "projector_dim": 64,
}
DATA = {"pretraining": {"description": "100 photographs", "fingerprint": "a"}}


def claim(path, flags=FLAGS, **options):
    options = {
        "kind": PRETRAINING,
        "defaults": FLAGS,
        "data": DATA,
        "export": path / "no_export",
        "overwrite": False,
    } | options
    with workdir.claim(path, flags, ignored=("strategy",), **options) as record:
        return record


def names(path):
    return sorted(
        str(file.relative_to(path))
        for file in path.rglob("*")
        if file.is_file()
    )


def write(path, *files):
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("kept")


def test_a_claim_can_be_taken_up_again(tmp_path):
    record = claim(tmp_path / "run")
    write(tmp_path, "run/metrics.csv")
    assert record == claim(tmp_path / "run", FLAGS | {"strategy": "mirrored"})
    assert (tmp_path / "run/metrics.csv").read_text() == "kept"


def test_flags_are_written_without_those_unset(tmp_path):
    claim(tmp_path / "run")
    assert workdir.read_flags(tmp_path / "run/flags.cfg") == {
        "epochs": "3",
        "strategy": "auto",
        "projector_dim": "64",
    }
    assert names(tmp_path / "run") == ["flags.cfg", "run.json"]


@pytest.mark.parametrize("change", [{"epochs": 4}, {"data_dir": "x"}])
def test_other_flags_are_named(tmp_path, change):
    claim(tmp_path / "run")
    (name,) = change
    with pytest.raises(UserError, match=f"`{name}` was .* and is now"):
        claim(tmp_path / "run", FLAGS | change)


def test_each_run_has_an_id_of_its_own(tmp_path):
    ids = {claim(tmp_path / name).id for name in "abb"}
    assert len(ids) == 2
    assert claim(tmp_path / "a", overwrite=True).id not in ids


# flags that come and go


def as_old(path):
    """Leaves what a version wrote that kept no record."""
    (path / RECORD_FILE).unlink()


@pytest.mark.parametrize("old", [False, True])
def test_a_flag_that_a_run_lacks_has_its_default(tmp_path, old):
    claim(tmp_path / "run")
    if old:
        as_old(tmp_path / "run")
    defaults = FLAGS | {"weight": 1.0, "order": None}
    for _ in range(2):  # also once it has a record
        claim(tmp_path / "run", defaults, defaults=defaults)
    for change in ({"weight": 2.0}, {"order": 3}):
        with pytest.raises(UserError, match="was (1.0|None) and is now"):
            claim(tmp_path / "run", defaults | change, defaults=defaults)


def test_or_the_value_that_keeps_the_old_behaviour(tmp_path):
    claim(tmp_path / "run")
    defaults = FLAGS | {"weight": 1.0}
    known = {"defaults": defaults, "formerly": {"weight": 0.0}}
    with pytest.raises(UserError, match="`weight` was 0.0 and is now 1.0"):
        claim(tmp_path / "run", defaults, **known)
    claim(tmp_path / "run", defaults | {"weight": 0.0}, **known)
    # A run that knew it, unset, is not older than it.
    unset = FLAGS | {"weight": None}
    claim(tmp_path / "later", unset, defaults=unset)
    claim(tmp_path / "later", unset, defaults=unset)


def test_the_same_numbers_are_the_same_flags(tmp_path):
    claim(tmp_path / "run", FLAGS | {"head_lr": "0.50,1"})
    claim(tmp_path / "run", FLAGS | {"head_lr": "0.5,1.0"})
    with pytest.raises(UserError, match="`head_lr` was 0.50,1 and is now 0.5"):
        claim(tmp_path / "run", FLAGS | {"head_lr": "0.5"})


@pytest.mark.parametrize("old", [False, True])
def test_a_flag_that_is_gone_matters_unless_at_its_default(tmp_path, old):
    was = FLAGS | {"trick": "on"}
    claim(tmp_path / "run", was, defaults=FLAGS | {"trick": "off"})
    claim(tmp_path / "plain", was, defaults=was)
    if old:
        as_old(tmp_path / "plain")  # the default is not known
        with pytest.raises(UserError, match="`trick`=on"):
            claim(tmp_path / "plain")
    else:
        claim(tmp_path / "plain")
    with pytest.raises(UserError, match="`trick`=on"):
        claim(tmp_path / "run")


def test_a_worker_compares_as_the_chief_does(tmp_path):
    claim(tmp_path / "run")
    workdir.join(
        tmp_path / "run", FLAGS | {"new": 1}, defaults=FLAGS | {"new": 1}
    )
    with pytest.raises(UserError, match="`epochs` was 3 and is now 4"):
        workdir.join(tmp_path / "run", FLAGS | {"epochs": 4}, defaults=FLAGS)


# images


def test_other_images_are_named(tmp_path):
    claim(tmp_path / "run")
    other = {"pretraining": {"description": "7 drawings", "fingerprint": "b"}}
    with pytest.raises(UserError, match="100 photographs.*7 drawings"):
        claim(tmp_path / "run", data=other)
    claim(tmp_path / "run", data=other, overwrite=True)
    claim(tmp_path / "run", data=other)


def test_the_images_of_an_old_run_are_those_it_goes_on_with(tmp_path):
    claim(tmp_path / "run")
    as_old(tmp_path / "run")
    record = claim(tmp_path / "run")
    assert record == claim(tmp_path / "run")
    with pytest.raises(UserError, match="other images"):
        claim(
            tmp_path / "run",
            data={"pretraining": {"description": "", "fingerprint": "b"}},
        )


# locks and kinds


RUN_FILES = (
    "metrics.csv",
    "scores.json",
    "figures/curves.png",
    "tensorboard/events.out.tfevents.1.v2",
    "checkpoints/step-00000005/state.index",
    "checkpoints/step-00000005/manifest.json",
    "checkpoints/damaged-step-00000003/state.data-00000-of-00001",
    "checkpoints/0123456789abcdef/step-00000005/state.index",
    "checkpoints/.step-00000009.partial/anything",
    ".metrics.csv.partial",
)
USERS_FILES = (
    "notes.txt",
    "figures/mine.png",
    "checkpoints/README",
    "checkpoints/step-00000005/why.txt",
    "tensorboard/profile/x",
)


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    claim(tmp_path / "run")
    write(tmp_path / "run", *RUN_FILES, *USERS_FILES)
    claim(tmp_path / "run", FLAGS | {"epochs": 4}, overwrite=True)
    assert names(tmp_path / "run") == sorted(
        ["flags.cfg", "run.json", *USERS_FILES]
    )
    assert not (tmp_path / "run/checkpoints/damaged-step-00000003").exists()
    write(tmp_path, "photos/a.jpg")
    with pytest.raises(UserError, match="holds files but no run"):
        claim(tmp_path / "photos", overwrite=True)
    assert names(tmp_path / "photos") == ["a.jpg"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_a_run_of_another_kind_is_never_touched(tmp_path, overwrite, old):
    scored = {"protocol": "linear"}
    claim(tmp_path / "train")
    claim(tmp_path / "eval", scored, kind=EVALUATION, data={}, defaults=scored)
    for name in ("train", "eval"):
        write(tmp_path / name, *RUN_FILES)
        if old:
            as_old(tmp_path / name)
    before = names(tmp_path)
    with pytest.raises(UserError, match="another"):
        claim(tmp_path / "eval", overwrite=overwrite)
    with pytest.raises(UserError, match="another"):
        claim(tmp_path / "train", scored, kind=EVALUATION, overwrite=overwrite)
    assert names(tmp_path) == before
    workdir.pretraining_flags(tmp_path / "train", "encoder")
    for name in ("eval", "nothing"):
        with pytest.raises(UserError, match="`encoder`=.*name the folder"):
            workdir.pretraining_flags(tmp_path / name, "encoder")


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
        with pytest.raises(UserError, match="is part of `export_dir`"):
            claim(
                tmp_path / "run", export=tmp_path / export, overwrite=overwrite
            )
    assert (tmp_path / "run/flags.cfg").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "left", [".flags.cfg.partial", "run.json", ".lock", ".run.json.partial"]
)
def test_what_a_killed_beginner_left_is_nobodys(tmp_path, overwrite, left):
    claim(tmp_path / "other")
    record = (tmp_path / "other/run.json").read_text()
    write(tmp_path, f"run/{left}")
    (tmp_path / "run/run.json").write_text(record)
    assert claim(tmp_path / "run", overwrite=overwrite).id not in record
    claim(tmp_path / "run")


def test_a_damaged_record_is_named(tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run/run.json").write_text("{")
    with pytest.raises(UserError, match="run.json is damaged"):
        claim(tmp_path / "run")


def test_a_claim_excludes_others_until_it_is_left(tmp_path):
    with workdir.claim(
        tmp_path, FLAGS, kind=PRETRAINING, overwrite=False, defaults=FLAGS
    ):
        before = {
            name: (tmp_path / name).read_bytes() for name in names(tmp_path)
        }
        for overwrite in (False, True):
            with pytest.raises(UserError, match=f"process {os.getpid()} on"):
                claim(tmp_path, overwrite=overwrite)
        assert json.loads(before["run.json"])["kind"] == PRETRAINING
        assert before == {
            name: (tmp_path / name).read_bytes() for name in names(tmp_path)
        }
    claim(tmp_path)


def test_distinct_names(tmp_path):
    def of(*paths):
        return workdir.distinct_names([tmp_path / path for path in paths])

    assert of("a/x", "a/y") == ["x", "y"]
    assert of("a/x", "b/x") == ["a/x", "b/x"]
    assert of("a/x", "b/x", "c/y") == ["a/x", "b/x", "c/y"]
    assert of("a/x") == of("a/../a/x") == ["x"]
    assert len(set(of("x", "x/x", "x/x/x"))) == 3
