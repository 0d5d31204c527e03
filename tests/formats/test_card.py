"""What an export may take the place of."""

import pytest

from mec_tf.formats.card import CARD, refuse_what_stands_in_the_way


def test_a_free_name_is_free(tmp_path):
    refuse_what_stands_in_the_way(tmp_path / "new", overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_what_is_no_export_is_never_replaced(tmp_path, overwrite, own):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="exists and is no export"):
        refuse_what_stands_in_the_way(tmp_path, overwrite=overwrite, own=own)


def test_an_export_is_replaced_by_its_run_or_on_demand(tmp_path):
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(ValueError, match="holds an export.*--overwrite"):
        refuse_what_stands_in_the_way(tmp_path, overwrite=False)
    refuse_what_stands_in_the_way(tmp_path, overwrite=True)
    refuse_what_stands_in_the_way(tmp_path, overwrite=False, own=True)
