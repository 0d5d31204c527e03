import pytest

from mec_tf.training.schedule import make_schedule, segments

SETTINGS = dict(images=1000, batch_size=64, epochs=3)


def schedule(**changes):
    return make_schedule(**SETTINGS | changes)


def test_the_papers_main_model():
    paper = make_schedule(1_281_167, batch_size=4096, epochs=800)
    assert paper.steps_per_epoch == 312  # the last 3,215 images are dropped
    assert paper.total_steps == 249_600
    assert paper.warmup("warmup_epochs", 10) == (3120, ())
    assert paper.peak_lr(0.3) == pytest.approx(4.8)


def test_steps_overrule_epochs():
    assert schedule(steps=40).total_steps == 40
    assert schedule(steps=40).epochs == 3
    assert schedule(steps=30).epochs == 2


def test_a_warmup_that_does_not_fit_is_shortened_and_said():
    steps, (note,) = schedule().warmup("warmup_epochs", 10)
    assert steps == 4
    assert "`warmup_epochs`=10 (150 steps)" in note
    assert schedule().warmup("warmup_epochs", 1) == (15, ())


@pytest.mark.parametrize(
    ("asked", "steps", "taken"),
    [(1, 0, 1), (5, 0, 5), (4, 0, 3), (99, 0, 15), (5, 36, 3), (2, 37, 1)],
)
def test_a_call_takes_a_number_of_steps_that_divides_all(asked, steps, taken):
    run = schedule(steps_per_execution=asked, steps=steps)
    assert run.steps_per_execution == taken
    assert all(
        part.steps_per_epoch % taken == 0
        for first_step in range(0, run.total_steps, taken)
        for part in segments(run, first_step)
    )
    assert (f"{taken} taken" in "".join(run.notes)) == (asked != taken)


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(ValueError, match="`batch_size`=2000 .* 1000 images"):
        schedule(batch_size=2000)


@pytest.mark.parametrize("steps", [1, 14, 15, 16, 37, 45])
def test_segments_cover_every_step_once_from_anywhere(steps):
    run = schedule(steps=steps)
    for first_step in range(steps + 1):
        seen = []
        for part in segments(run, first_step):
            assert part.first_step == first_step + len(seen)
            for epoch in range(part.initial_epoch, part.epochs):
                for _ in range(part.steps_per_epoch):
                    step = first_step + len(seen)
                    assert epoch == step // run.steps_per_epoch
                    seen.append(step)
        assert seen == list(range(first_step, steps))


def test_whole_epochs_are_one_call():
    assert [tuple(s) for s in segments(schedule(), 0)] == [(0, 0, 3, 15)]


def test_a_batch_of_classifiers_is_cut_to_the_set_and_the_replicas():
    cut = schedule(images=50, cut=True, replicas=4)
    assert (cut.requested_batch_size, cut.batch_size) == (64, 48)
    assert cut.total_steps == 3
    assert "cut from 64" in cut.summary([0.1])
    assert "cut" not in schedule(cut=True, replicas=4).summary([0.1])
    with pytest.raises(ValueError, match="`batch_size`=64"):
        schedule(images=3, cut=True, replicas=4)
