"""Tables on standard output; in a file or pipe their lines are not cut."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

_UNLIMITED = 10_000  # characters


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Prints lines of what and value, values under one another."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(
        file=sys.stdout, markup=False, highlight=False, emoji=False
    )
    if not console.is_terminal:
        console.width = _UNLIMITED
    console.print(table)
