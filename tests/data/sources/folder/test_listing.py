"""Listing a folder: every image, in natural order, the rest by name."""

import os

import numpy as np
import pytest

from mec_tf.data.sources import folder
from mec_tf.errors import UserError


@pytest.fixture
def jpeg(photograph, encoded):
    return encoded(photograph(0, 20, 30))


def _names(listing):
    return [os.path.relpath(path, listing.folder) for path in listing.paths]


def test_flat_folder_in_natural_order(image_folder, jpeg):
    names = ["b10.jpg", "b9.JPEG", "a 1.jpg", "ä²x.jpg", "sub/c.jpg"]
    where = image_folder({name: jpeg for name in names})
    train, test = folder.find(where, "train", "test")
    assert test is None
    assert train.labels is None
    order = ["a 1.jpg", "b9.JPEG", "b10.jpg", "sub/c.jpg", "ä²x.jpg"]
    assert _names(train) == order


def test_class_folders_are_shared_by_the_splits(image_folder, jpeg):
    where = image_folder(
        {
            "train/10/x.jpg": jpeg,
            "train/2/deep/y.jpg": jpeg,
            "test/10/z.jpg": jpeg,
            "test/9/z.jpg": jpeg,
        }
    )
    train, test = folder.find(where, "train", "test")
    assert train.class_names == test.class_names == ("2", "9", "10")
    np.testing.assert_array_equal(train.labels, [0, 2])
    np.testing.assert_array_equal(test.labels, [1, 2])


def test_one_class_folder_is_no_class(image_folder, jpeg):
    where = image_folder({"all/x.jpg": jpeg, "all/y.jpg": jpeg})
    train, _ = folder.find(where, "train", "test")
    assert train.labels is None


def test_what_is_no_image_is_refused_with_its_reason(image_folder, jpeg):
    where = image_folder(
        {
            "good.jpg": jpeg,
            "good.too": jpeg,
            "no suffix": jpeg,
            "text.jpg": b"hello, world",
            "empty.png": b"",
            "scan.tiff": b"II*\0rest",
            "notes.txt": b"not meant to be an image",
            "LICENSE": b"nor this",
            ".hidden.jpg": b"nor this",
        }
    )
    os.symlink("nowhere", os.path.join(where, "broken.jpg"))
    os.mkdir(os.path.join(where, "directory.jpg"))
    os.symlink(where, os.path.join(where, "loop"))
    os.symlink("itself", os.path.join(where, "itself"))
    train, _ = folder.find(where, "train", "test")
    assert _names(train) == ["good.jpg", "good.too", "no suffix"]
    reasons = {
        os.path.basename(path): reason for path, reason in train.refused.items()
    }
    assert reasons == {
        "text.jpg": "not an image; it begins with b'hello, world'",
        "empty.png": "the file is empty",
        "broken.jpg": "a broken link or no regular file",
        "directory.jpg": "a directory, not a file",
        "itself": "Too many levels of symbolic links",
    }
    assert list(train.left_out.unread) == [(".tiff", "TIFF")]
    assert train.left_out.texts == {".txt": 1, "": 1}


def test_the_content_decides_and_the_rest_is_counted(
    image_folder, photograph, encoded
):
    pixels = photograph(0, 20, 30)
    kinds = ("JPEG", "PNG", "BMP", "GIF", "WEBP")
    files = {f"{kind}.jpg_large": encoded(pixels, kind) for kind in kinds}
    files |= {f"a/{kind}": encoded(pixels, kind) for kind in kinds}
    files |= {"a.ppm": encoded(pixels, "PPM"), "a.tga": encoded(pixels, "TGA")}
    files |= {"a.jp2": encoded(pixels, "JPEG2000"), "odd": b"8BPS\0\1"}
    files |= {"phone.jpg": b"\0\0\0\x18ftypheic", "a.zip": b"PK\3\4\0"}
    files |= {"labels.csv": b"a,b", "README": b"Read me.", "BMW": b"BMW cars"}
    train, _ = folder.find(image_folder(files), "train", "test")
    assert len(train.paths) == 10
    assert not train.refused
    assert {key: len(of) for key, of in train.left_out.unread.items()} == {
        (".ppm", "PNM"): 1,
        (".tga", "TGA"): 1,
        (".jp2", "JPEG 2000"): 1,
        ("", "Photoshop"): 1,
        (".jpg", "HEIC"): 1,
    }
    assert list(train.left_out.others) == [".zip"]
    assert train.left_out.texts == {".csv": 1, "": 2}
    said = " ".join(train.notes)
    for name in (".ppm", ".tga", ".jp2", "phone.jpg", "a.zip", "33%"):
        assert name in said


def test_more_left_out_than_kept_is_refused(image_folder, photograph, encoded):
    pixels = photograph(0, 20, 30)
    files = {"0.jpg": encoded(pixels), "0.tif": encoded(pixels, "TIFF")}
    folder.find(image_folder(files, "even"), "train", "test")
    files["1.tif"] = files["0.tif"]
    with pytest.raises(UserError, match="2 .tif"):
        folder.find(image_folder(files, "most"), "train", "test")


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "#recycle",
        "$RECYCLE.BIN",
        "System Volume Information",
        ".ipynb_checkpoints",
        "__MACOSX",
        "lost+found",
        ".thumbnails",
    ],
)
def test_what_systems_keep_is_ignored(image_folder, jpeg, name):
    good = {f"{where}/0.jpg": jpeg for where in ("train/a", "train/b")}
    kept = {
        f"{where}/{name}/x.jpg/thumb.jpg": jpeg
        for where in (".", "train", "train/a")
    }
    train, _ = folder.find(image_folder(good | kept), "train", "test")
    assert _names(train) == ["a/0.jpg", "b/0.jpg"]
    assert train.class_names == ("a", "b")
    assert not train.notes and not train.refused
    with pytest.raises(UserError, match="No images"):
        folder.find(image_folder(kept, "nothing else"), "train", "test")


def test_a_stray_image_is_named_and_labels_stay(image_folder, jpeg):
    files = {f"x/{name}/{k}.jpg": jpeg for name in "ab" for k in range(9)}
    files |= {"cover.jpg": jpeg, "x/0.jpg": jpeg}
    train, _ = folder.find(image_folder(files), "train", "test")
    np.testing.assert_array_equal(train.labels, np.repeat([0, 1], 9))
    assert len(train.paths) == len(train.orientations) == 18
    said = " ".join(train.notes)
    assert "images/cover.jpg" in said and "x/0.jpg" in said


def test_sixteen_bits_are_counted_and_one_is_named(image_folder, jpeg, encoded):
    deep = encoded(np.zeros([8, 8], np.uint16), "PNG")
    flat = encoded(np.zeros([8, 8], np.uint8), "PNG")
    files = {"a.jpg": jpeg, "b.png": deep, "c.png": deep, "d.png": flat}
    train, _ = folder.find(image_folder(files), "train", "test")
    (said,) = train.notes
    assert said.startswith("2 of 4 images") and "b.png" in said


def test_a_folder_s_own_name_must_be_unicode(image_folder, jpeg):
    where = image_folder({"a.jpg": jpeg}, "odd\udcff")
    with pytest.raises(UserError, match="data_dir"):
        folder.find(where, "train", "test")


def test_a_folder_that_may_not_be_read_is_refused(
    image_folder, jpeg, monkeypatch
):
    where = image_folder({"good.jpg": jpeg, "locked/lost.jpg": jpeg})
    scandir = os.scandir

    def without_rights(path):  # Root, as which tests may run, has them all.
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", without_rights)
    train, _ = folder.find(where, "train", "test")
    assert _names(train) == ["good.jpg"]
    assert train.refused == {os.path.join(where, "locked"): "Permission denied"}
    with pytest.raises(PermissionError):
        folder.find(os.path.join(where, "locked"), "train", "test")


def test_names_need_not_be_unicode(image_folder, jpeg):
    where = image_folder({"good.jpg": jpeg})
    odd = os.path.join(os.fsencode(where), b"odd\xff.jpg")
    with open(odd, "wb") as file:
        file.write(jpeg)
    train, _ = folder.find(where, "train", "test")
    assert os.fsencode(train.paths[1]) == odd


@pytest.mark.parametrize(
    ("files", "splits", "message"),
    [
        ({"a.jpg": None}, ("learn", "test"), "`train_split`=learn"),
        ({"a.jpg": None}, ("train", "check"), "holds a.jpg"),
        ({"test/a.jpg": None}, ("train", "test"), "train_split"),
        ({"a.txt": b"text"}, ("train", "test"), "which holds a.txt"),
        ({"a.jpg": b"text"}, ("train", "test"), "begins with b'text'"),
    ],
)
def test_errors_say_what_was_found(image_folder, jpeg, files, splits, message):
    where = image_folder({path: data or jpeg for path, data in files.items()})
    with pytest.raises(ValueError, match=message):
        folder.find(where, *splits)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(ValueError, match="data_dir"):
        folder.find(None, "train", "test")
    with pytest.raises(FileNotFoundError, match="No such folder"):
        folder.find(str(tmp_path / "missing"), "train", "test")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="Not a folder"):
        folder.find(str(tmp_path / "file"), "train", "test")
    with pytest.raises(ValueError, match="which holds nothing"):
        (tmp_path / "empty").mkdir()
        folder.find(str(tmp_path / "empty"), "train", "test")
