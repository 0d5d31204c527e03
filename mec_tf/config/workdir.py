"""Settings of the workdir and its checkpoints."""

import dataclasses

from mec_tf.config.config import Config
from mec_tf.config.setting import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workdir(Config):
    """Run."""

    workdir: str | None = setting(
        None,
        "Folder of the run. Default: runs/<flagfile's name>. Reports take"
        " several, comma-separated.",
        path=True,
        may_differ=True,
    )
    checkpoint_minutes: float = setting(
        15.0,
        "Minutes between checkpoints inside an epoch.",
        least=0,
        may_differ=True,
    )
    overwrite: bool = setting(
        False,
        "Start anew: first removes the run in the workdir and, when training,"
        " the export. To go on with a run leave it out.",
        start_only=True,
    )
