"""The table of objectives, and what they declare."""

from types import SimpleNamespace

import pytest

from mec_tf import objectives
from mec_tf.errors import UserError
from mec_tf.objectives import Objective, mec
from mec_tf.objectives.objective import check_needs
from mec_tf.training.schedule import make_schedule

SCHEDULE = make_schedule(1000, batch_size=50, epochs=4)
SETTINGS = SimpleNamespace(
    distortion=0.06,
    taylor_order=3,
    mec_series="chebyshev",
    mec_form="feature",
    embedding_norm="batch",
    convergence_guard=False,
    seed=5,
    lambda_warmup_epochs=2,
)


def test_mec_is_built_from_the_settings_of_a_run():
    built = objectives.build("mec", SETTINGS, SCHEDULE)
    assert isinstance(built, mec.MEC)
    assert (built.distortion, built.order, built.form) == (0.06, 3, "feature")
    assert (built.series, built.embedding_norm) == ("chebyshev", "batch")
    assert not built.guard
    assert (built.seed, built.warmup_steps) == (5, 40)
    assert built.notes == ()
    long = SimpleNamespace(**vars(SETTINGS) | {"lambda_warmup_epochs": 10})
    built = objectives.build("mec", long, SCHEDULE)
    assert built.warmup_steps == 8
    (note,) = built.notes
    assert "lambda_warmup_epochs" in note


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="`objective`=mce .*mec"):
        objectives.build("mce", SETTINGS, SCHEDULE)


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_only_the_mean_cosine_needs_a_target_or_a_predictor(order):
    objective = mec.MEC(order=order)
    for target, predictor in ((True, False), (False, True)):
        check_needs(objective, target=target, predictor=predictor)
    if order == 1:
        with pytest.raises(UserError, match="`ema_base`.*`predictor_dim`"):
            check_needs(objective, target=False, predictor=False)
    else:
        check_needs(objective, target=False, predictor=False)


def test_all_of_several_needs_have_to_be_there():
    class Both(Objective):
        needs = (("target",), ("predictor",))

    check_needs(Both(), target=True, predictor=True)
    with pytest.raises(UserError, match="`predictor_dim`"):
        check_needs(Both(), target=True, predictor=False)
    with pytest.raises(UserError, match="`ema_base`"):
        check_needs(Both(), target=False, predictor=True)


def test_the_papers_main_model_is_described_in_its_symbols():
    lines = dict(mec.MEC(0.06).describe(m=4096, d=2048))
    assert lines["mu = (m + d) / 2"] == "3072"
    # lambda = d / (m epsilon^2) with epsilon^2 = d epsilon_d^2
    lam = float(lines["lambda = 1 / (m epsilon_d^2)"])
    assert lam == pytest.approx(2048 / (4096 * 2048 * 0.06), rel=1e-5)


@pytest.mark.parametrize(
    "wrong", [{"distortion": 0.0}, {"order": -1}, {"form": "row"}]
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        mec.MEC(**wrong)
