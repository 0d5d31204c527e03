"""Results of an evaluation: the path of the JSON, and the printed table."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mec_tf.config import EvaluateConfig
from mec_tf.errors import UserError
from mec_tf.files.atomic import partial_of

SCORES_FILE = "scores.json"
# Of a result's row: in the JSON, but the table is narrow without them.
ONLY_IN_JSON = (
    "batch_size",
    "steps",
    "peak_lr",
    "image_size",
    "crop_fraction",
    "chosen_on",
)


def scores_path(
    config: EvaluateConfig,
    *,
    trains: bool,
    check: Callable[[str], Path] | None = None,
    default: Path | None = None,
) -> Path | None:
    """The path of the JSON, checked before anything is computed.

    Args:
        config: Of the evaluation.
        trains: Whether the workdir will be made by the protocol.
        check: `Protocol.output_check`.
        default: Where neither `output` nor a workdir says.

    Returns:
        The path, in a folder that is there; None: nowhere.

    Raises:
        UserError: If nothing can be written there.
    """
    if check is not None:
        path = check(config.output)
    elif config.output:
        path = Path(config.output)
    elif config.workdir and (trains or Path(config.workdir).is_dir()):
        return Path(config.workdir) / SCORES_FILE  # the claim looks after it
    elif default is None:
        return None
    else:
        path = default
    if path.is_dir():
        raise UserError(f"`output`={path} is a folder; name a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = partial_of(path)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"`output`={path} cannot be written ({error.strerror}); name a file"
            " in a folder that can be"
        ) from error
    return path


def show_scores(result: Mapping[str, Any]) -> None:
    """Prints the rows of a result as a table."""
    print_table(result["results"])


def print_table(
    rows: Sequence[Mapping[str, Any]],
    shares: Collection[str] = ("mean_per_class", "map11"),
) -> None:
    """Prints rows as a table: ruled on a terminal, else aligned text.

    Args:
        rows: Dicts of equal keys. Dicts in them are left out.
        shares: Columns that are shown in per cent, beside the accuracies.
    """
    columns = [
        name
        for name, value in rows[0].items()
        if name not in ONLY_IN_JSON and not isinstance(value, Mapping)
    ]
    cells = [
        [_shown(name, row[name], shares) for name in columns] for row in rows
    ]
    terminal = Console(file=sys.stdout, highlight=False)
    if terminal.is_terminal:
        table = Table(box=box.SIMPLE)
        for k, name in enumerate(columns):
            table.add_column(Text(name), justify="right" if k else "left")
        for row in cells:
            table.add_row(*map(Text, row))
        terminal.print(table)
        return
    cells = [columns, *cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)))


def _shown(name, value, shares):
    if name.startswith("top") or name in shares:
        return f"{100 * value:.1f} %"
    return f"{value:.3g}" if name in ("penalty", "base_lr") else str(value)
