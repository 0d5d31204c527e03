"""Images in a folder, with or without a subfolder per class.

Every file is listed, in natural order, and its first bytes are looked at; what
is no image is refused by name and reason before training starts. What is said
of which folder: docs/data.md.
"""

from mec_tf.data.sources.folder.image_folder import load
from mec_tf.data.sources.folder.split_listings import find

__all__ = ["find", "load"]
