"""The order of files, which numbers the images."""

from mec_tf.data.sources.folder import tree


def test_the_order_that_numbers_the_images_stays():
    ordered = [
        "",
        "01.jpg",
        "1.jpg",
        "2.jpg",
        "10.jpg",
        "IMG1",
        "img1",
        "img1.5",
        "img2",
        "IMG3",
        "img10",
        "z",
        "ß",
        "é",
        "\udcff",
    ]
    assert sorted(reversed(ordered), key=tree.natural) == ordered
