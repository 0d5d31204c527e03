"""Which export may be replaced, and what its metadata tells."""

import json

import pytest

from mec_tf.formats.metadata import (
    METADATA_FILE,
    check_export_dir,
    made_by,
    may_be_of,
)
from mec_tf.training.run_record import PRETRAINING
from mec_tf.training.workdir import claim


def test_a_free_name_is_free(tmp_path):
    check_export_dir(tmp_path / "new", overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_what_is_no_export_is_never_replaced(tmp_path, overwrite, own):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="exists and is no export"):
        check_export_dir(tmp_path, overwrite=overwrite, own=own)


def test_an_export_is_replaced_by_its_run_or_on_demand(tmp_path):
    (tmp_path / METADATA_FILE).write_text("{}")
    with pytest.raises(ValueError, match="holds an export.*`overwrite`"):
        check_export_dir(tmp_path, overwrite=False)
    check_export_dir(tmp_path, overwrite=True)
    check_export_dir(tmp_path, overwrite=False, own=True)


@pytest.mark.parametrize("name", ["labels.txt", "sub/report.pdf", ".gitkeep"])
def test_a_users_file_in_an_export_keeps_it_where_it_is(tmp_path, name):
    for ours in (
        METADATA_FILE,
        "encoder.keras",
        "saved_model.pb",
        "variables/x",
    ):
        (tmp_path / ours).parent.mkdir(exist_ok=True)
        (tmp_path / ours).write_text("{}")
    check_export_dir(tmp_path, overwrite=True)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=name.partition("/")[0]):
        check_export_dir(tmp_path, overwrite=True)


@pytest.mark.parametrize(
    ("run", "expected"),
    [({"id": "1"}, True), ({"id": "2"}, False), ({"id": None}, None)]
    + [(None, None)],
)
def test_a_card_says_which_run_made_the_export(tmp_path, run, expected):
    (tmp_path / METADATA_FILE).write_text(json.dumps({"run": run}))
    assert made_by(tmp_path, "1") is expected
    (tmp_path / METADATA_FILE).write_text("{}")
    assert made_by(tmp_path, "1") is None
    assert made_by(tmp_path / "nothing", "1") is None


def test_a_run_of_before_may_own_an_export_of_before_alone(tmp_path):
    run, export = tmp_path / "run", tmp_path / "export"
    export.mkdir()
    assert not may_be_of(export, run)
    flags = {"projector_dim": 64}
    with claim(run, flags, kind=PRETRAINING, overwrite=False) as record:
        pass
    for metadata, own in (({}, True), ({"run": {"id": record.id}}, True)):
        (export / METADATA_FILE).write_text(json.dumps(metadata))
        assert may_be_of(export, run) is own
    (run / "run.json").unlink()
    assert not may_be_of(export, run)
    (export / METADATA_FILE).write_text("{}")
    assert may_be_of(export, run)
