r"""FGVC-Aircraft for TensorFlow Datasets, which has no builder of it.

Put `fgvc-aircraft-2013b.tar.gz`, as published, into a folder DIR, then

tfds build fgvc_aircraft --manual_dir=DIR \
    --imports=mec_tf.data.sources.fgvc_aircraft
"""

import tensorflow_datasets as tfds

from mec_tf.errors import MissingPath

ARCHIVE = "fgvc-aircraft-2013b.tar.gz"
_DATA = "fgvc-aircraft-2013b/data"
# Of the set's three hierarchies the literature scores the finest.
_SPLITS = {"train": "train", "validation": "val", "test": "test"}


class FgvcAircraft(tfds.core.GeneratorBasedBuilder):
    """10,000 photographs of aircraft in 100 variants.

    Source: Maji et al., 2013, https://arxiv.org/abs/1306.5151.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "fgvc-aircraft-2013b, labelled by variant."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Put {ARCHIVE} from https://www.robots.ox.ac.uk/~vgg/data/"
        "fgvc-aircraft/ into the manual folder."
    )

    # Nothing is downloaded, so no checksums need to be looked up.
    url_infos = None

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "label": tfds.features.ClassLabel(),
                    "file_name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
            citation="Maji et al., Fine-Grained Visual Classification of "
            "Aircraft, 2013",
        )

    def _split_generators(self, dl_manager):
        archive = dl_manager.manual_dir / ARCHIVE
        if not archive.exists():
            raise MissingPath(
                f"{archive} is missing. {self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        data = dl_manager.extract(archive) / _DATA
        variants = (data / "variants.txt").read_text().splitlines()
        self.info.features["label"].names = [name.strip() for name in variants]
        return {
            split: self._generate_examples(
                data / "images", data / f"images_variant_{name}.txt"
            )
            for split, name in _SPLITS.items()
        }

    def _generate_examples(self, images, listing):
        for line in listing.read_text().splitlines():
            number, _, variant = line.strip().partition(" ")
            name = f"{number}.jpg"
            yield (
                name,
                {
                    "image": images / name,
                    "label": variant,
                    "file_name": name,
                },
            )
