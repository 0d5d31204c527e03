"""Settings of the data set."""

import dataclasses

from mec_tf.config.config import Config
from mec_tf.config.setting import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Config):
    """Data."""

    dataset: str = setting(
        "folder",
        "digits (scikit-learn's 1,797 handwritten digits), folder (images under"
        " `data_dir`) or tfds:NAME[/CONFIG] (TensorFlow Datasets, prepared"
        " under `data_dir` or in its default place).",
    )
    data_dir: str | None = setting(
        None, "Folder that holds the data.", path=True, may_differ=True
    )
    train_split: str = setting(
        "train", "Subfolder or TFDS split to pretrain on."
    )
    test_split: str = setting("test", "Subfolder or TFDS split to score on.")
    image_size: int | None = setting(
        None,
        "Side of the images that the network sees, pixels. Scoring: by default"
        " what the (first) export was trained at.",
        least=1,
    )

    def source_options(self) -> dict[str, object]:
        """Keyword arguments of `data.sources.load`, without the seed."""
        return {
            "dataset": self.dataset,
            "data_dir": self.data_dir,
            "train_split": self.train_split,
            "test_split": self.test_split,
        }
