"""The builder on an archive with the published one's layout."""

import io
import tarfile

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from mec_tf.data import sources
from mec_tf.data.sources import fgvc_aircraft

SPLITS = {
    "train": "0000001 707-320\n0000003 Saab 2000\n",
    "val": "0000002 F/A-18\n",
    "test": "0000004 Saab 2000\n0000005 707-320\n",
}


def test_it_reads_the_published_layout(tmp_path):
    with tarfile.open(tmp_path / fgvc_aircraft.ARCHIVE, "w:gz") as archive:

        def add(name, content):
            info = tarfile.TarInfo(f"fgvc-aircraft-2013b/data/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        add("variants.txt", b"707-320\nF/A-18\nSaab 2000\n")
        for split, lines in SPLITS.items():
            add(f"images_variant_{split}.txt", lines.encode())
            add(f"images_family_{split}.txt", b"not this one")
        for number in range(1, 6):
            file = io.BytesIO()
            image = Image.new("RGB", (40, 30), (50 * number, 0, 0))
            image.save(file, "PNG")
            add(f"images/{number:07}.jpg", file.getvalue())
    builder = tfds.builder("fgvc_aircraft", data_dir=tmp_path / "prepared")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=tmp_path)
    )
    splits = sources.load(
        "tfds:fgvc_aircraft",
        data_dir=str(tmp_path / "prepared"),
        train_split="train+validation",
    )
    assert (splits.references.size, splits.test.size) == (3, 2)
    assert splits.references.class_names == ("707-320", "F/A-18", "Saab 2000")
    variants = {
        name: splits.references.class_names[label]
        for name, label in zip(
            splits.references.names, splits.references.labels, strict=True
        )
    }
    assert variants == {
        "0000001.jpg": "707-320",
        "0000002.jpg": "F/A-18",
        "0000003.jpg": "Saab 2000",
    }
    place = splits.test.names.index("0000004.jpg")
    content = splits.test.read(np.int64(place)).numpy()
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert tuple(pixels[0, 0]) == (200, 0, 0)
