from benchmarks import guard


def test_the_estimate_is_good_enough_for_the_guard():
    for z1, z2 in guard.spectra(24, 32).values():
        ratio = guard.worst_estimate(z1, z2, starts=2)
        assert 1 / 1.1 < ratio <= 1 + 1e-9
