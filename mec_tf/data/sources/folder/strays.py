"""How many stray images are tolerated when a folder is interpreted."""

# So many images beside folders are strays, left out by name...
_MAX_STRAYS, _IMAGES_PER_STRAY = 5, 4
# ...or such a share, however many.
_MAX_SHARE = 0.01


def few(strays, images):
    """Whether so few of the images lie astray that the others decide.

    Up to 5 that are at most a quarter, or up to 1 % of all.
    """
    some = strays <= _MAX_STRAYS and strays * _IMAGES_PER_STRAY <= images
    return some or strays <= _MAX_SHARE * images
