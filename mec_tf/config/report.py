"""Settings of reports."""

import dataclasses

from mec_tf.config.pretrain import Pretraining
from mec_tf.config.setting import setting, varied
from mec_tf.config.views import Views
from mec_tf.config.workdir import Workdir


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig(Pretraining):
    """Report: settings of `mec_tf.report`.

    Beside its own it takes every setting of pretraining, so that it can draw
    what a flagfile's run would see.
    """

    views: str = varied(Views, "views", bare=True)
    # Several, where pretraining has one.
    workdir: tuple[str, ...] | None = varied(  # type: ignore[assignment]
        Workdir, "workdir"
    )
    draw_views: bool = setting(
        False,
        "Draw what the network sees. A bare --views on the command line asks"
        " for it, too.",
        start_only=True,
    )
