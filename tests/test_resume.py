"""Runs that are taken away in the middle end as if nothing had happened."""

import signal

from tests.drills import faults


def test_struck_at_random_moments_it_ends_bit_for_bit_the_same(tmp_path):
    strikes = [
        faults.Strike("write", signal.SIGKILL, "flip"),
        faults.Strike("write", signal.SIGTERM, "cut"),
        faults.Strike("full", None, None),
    ]
    lines = []
    assert faults.drill(tmp_path, strikes, 7, 0, lines.append) == []
    assert len(lines) == 3
    # The drill can fail, too.
    rows = tmp_path / "struck/run/metrics.csv"
    rows.write_text(rows.read_text().replace("-0.", "-1.", 1))
    assert faults.differences(tmp_path / "whole", tmp_path / "struck") == [
        "metrics.csv differs"
    ]
