import json
import math

import pytest
import torch
from toys_of_training import TINY, Scripted, run, tiny_gan

from autogas.errors import InputError
from autogas.training.checkpoint import load_tensors, state_tensors
from autogas.training.loop import CHECKPOINT_FILE, LOSSES_FILE, CollapseError, DivergenceError

EVERY = {"log_every": 1, "checkpoint_every": 2}


def same_state(first, second):
    a, b = (state_tensors(task.modules, task.optimizers) for task in (first, second))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    return True


@pytest.fixture(scope="module")
def undisturbed():
    task = tiny_gan()
    return task, run(task, steps=6, **EVERY)


def test_rows_after_the_checkpoint_and_half_written_ones_are_made_again(undisturbed, tmp_path):
    def stop(rows):
        if rows[-1]["step"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_gan(), steps=6, folder=tmp_path, observe=stop, **EVERY)
    file = tmp_path / LOSSES_FILE
    assert len(file.read_text().splitlines()) == 3
    assert load_tensors(tmp_path / CHECKPOINT_FILE)[1]["step"] == 2
    file.write_text(file.read_text() + '{"step": 4, "discr')
    again, seen = tiny_gan(seed=9), []  # whatever its weights are, the checkpoint's count
    rows = run(again, steps=6, folder=tmp_path, observe=lambda rows: seen.append(rows[-1]["step"]), **EVERY)
    assert rows == undisturbed[1]
    assert seen == [3, 4, 5, 6]
    assert same_state(again, undisturbed[0])
    assert [json.loads(line) for line in file.read_text().splitlines()] == rows


def test_a_finished_training_is_not_repeated(undisturbed, tmp_path):
    rows = run(tiny_gan(), steps=6, folder=tmp_path, **EVERY)
    content = (tmp_path / LOSSES_FILE).read_bytes()
    again = tiny_gan()
    again.step = None
    assert run(again, steps=6, folder=tmp_path, **EVERY) == rows
    assert (tmp_path / LOSSES_FILE).read_bytes() == content
    assert same_state(again, undisturbed[0])


def test_rows_are_means_since_the_last_row():
    rows = run(Scripted(), steps=8, log_every=3, checkpoint_every=4)
    assert [(row["step"], row["loss"]) for row in rows] == [(3, 1), (4, 3), (6, 4.5), (8, 6.5)]


def test_what_is_drawn_depends_on_seed_and_step_only():
    drawn = [[row["drawn"] for row in run(Scripted(), steps=4, seed=seed, log_every=1)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert len({*drawn[0], *drawn[2]}) == 8


def test_the_callers_random_numbers_are_left_alone():
    task, before = Scripted(), torch.get_rng_state()
    run(task, steps=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_remaining_steps_are_tracked(tmp_path):
    seen = []

    def track(steps, count):
        seen.append(count)
        return steps

    task = Scripted()
    run(task, steps=2, folder=tmp_path, track=track)
    run(task, steps=5, folder=tmp_path, track=track)
    assert seen == [2, 3]
    assert task.net.weight.item() == 5


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_training_and_keeps_the_files(tmp_path, value):
    task = Scripted(lambda step: value if step == 5 else 1.0)
    with pytest.raises(DivergenceError, match=r"^training diverged by step 6: loss not finite$"):
        run(task, steps=9, folder=tmp_path, **EVERY)
    tensors, about = load_tensors(tmp_path / CHECKPOINT_FILE)
    assert about["step"] == tensors["modules/net/weight"].item() == 4
    assert len((tmp_path / LOSSES_FILE).read_text().splitlines()) == 5


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    class Exploding(Scripted):
        def step(self, step, generator, machine):
            losses = super().step(step, generator, machine)
            if step == 3:
                torch.nn.init.constant_(self.net.weight, math.nan)
            return losses

    with pytest.raises(DivergenceError, match="by step 4: net not finite"):
        run(Exploding(), steps=9, folder=tmp_path, **EVERY)
    assert load_tensors(tmp_path / CHECKPOINT_FILE)[1]["step"] == 2


def test_samples_that_are_not_finite_are_no_collapse():
    with pytest.raises(DivergenceError, match="training diverged by step 2: samples not finite"):
        run(Scripted(spread=math.nan), steps=2)


@pytest.mark.parametrize(("spread", "ends"), [(0.0, True), (1e-3, True), (2e-3, False)])
def test_equal_samples_end_training(tmp_path, spread, ends):
    # Uniform numbers on [0, s] have standard deviation s / sqrt(12): 2.9e-4 and 5.8e-4, on either side of 5e-4.
    task = Scripted(spread=spread)
    if not ends:
        run(task, steps=2, folder=tmp_path)
        return
    with pytest.raises(CollapseError, match="training collapsed by step 2: 16 samples differ by"):
        run(task, steps=2, folder=tmp_path)
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_samples_may_start_equal():
    with pytest.raises(CollapseError, match="training collapsed by step 3"):
        run(Scripted(spread=0.0), steps=5, equal_until=2, **EVERY)


def test_endings_are_bad_input_to_whoever_catches_that():
    assert issubclass(DivergenceError, InputError)
    assert issubclass(CollapseError, InputError)


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run(tiny_gan(), steps=1, folder=tmp_path)
    wider = TINY.model_copy(update={"discriminator_width": 3})
    with pytest.raises(InputError, match="the checkpoint is of another discriminator"):
        run(tiny_gan(wider), steps=2, folder=tmp_path)
