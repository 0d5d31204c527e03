import pytest

from mec_tf.errors import UserError
from mec_tf.files.path_lists import split


@pytest.mark.parametrize(
    ("there", "text", "expected"),
    [
        ((), "a", ["a"]),
        ((), "a,b", ["a", "b"]),
        (("a,b",), "a,b", ["a,b"]),
        (("a,b", "c"), "c,a,b", ["c", "a,b"]),
        (("a,b,c", "c"), "a,b,c,c", ["a,b,c", "c"]),
        (("a,b", "a"), "a,b", ["a,b"]),
        (("lr[0.3]",), "lr[0.3],pixels", ["lr[0.3]", "pixels"]),
    ],
)
def test_what_exists_is_taken_whole(
    tmp_path, monkeypatch, there, text, expected
):
    for name in there:
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert split(text, field="encoder") == expected


def test_what_may_mean_either_is_refused(tmp_path, monkeypatch):
    for name in ("a,b", "a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="encoder.*a,b"):
        split("a,b", field="encoder")


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b"])
def test_an_empty_name_is_refused(text):
    with pytest.raises(UserError, match="workdir"):
        split(text, field="workdir")
