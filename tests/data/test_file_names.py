"""Names that are not UTF-8, or not fit for a line, and back again."""

import os

from mec_tf.data import file_names

ODD = os.fsdecode(b"a/\xe4\xff \xc3\xa4.jpg")


def test_names_come_back():
    for path in (ODD, "plain.jpg", "ä 画\\.png"):
        written = file_names.stored(path)
        written.encode("utf-8")
        assert file_names.original(written) == path
    assert file_names.stored("ä 画\\.png") == "ä 画\\.png"
    assert [file_names.is_unicode(path) for path in (ODD, "ä")] == [False, True]


def test_a_line_stays_a_line():
    shown = file_names.printable("two\nlines\x1b[1m ä" + ODD)
    assert shown.isprintable() and "ä" in shown
