"""How many images are strays."""

from mec_tf.data.sources.folder import strays


def test_a_few_are_five_or_one_in_a_hundred():
    for astray, images, are_few in (
        (1, 4, True),
        (2, 7, False),
        (5, 20, True),
        (6, 599, False),
        (6, 600, True),
    ):
        assert strays.few(astray, images) == are_few
