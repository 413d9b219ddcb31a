import pytest
import torch
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from autogas.errors import InputError
from autogas.metrics import inception_score


def logits(count, classes=10, scale=2.0, seed=0):
    return scale * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("count", "splits"), [(1000, 10), (1007, 10), (99, 7), (50, 1), (10, 10)])
@pytest.mark.parametrize(("classes", "scale"), [(10, 1.0), (1008, 6.0)])
def test_score_is_that_of_torch_fidelity(count, splits, classes, scale):
    batch = logits(count, classes, scale)
    theirs = isc_features_to_metric(batch, splits)
    ours = inception_score(batch, splits=splits)
    assert ours.mean == pytest.approx(theirs[KEY_METRIC_ISC_MEAN], rel=1e-6)
    assert ours.std == pytest.approx(theirs[KEY_METRIC_ISC_STD], rel=1e-6, abs=1e-9)


def test_score_of_equal_images_is_one():
    ours = inception_score(logits(1).expand(40, -1), splits=4)
    assert ours.mean == pytest.approx(1)
    assert ours.std == pytest.approx(0)


def test_score_of_certain_and_even_classes_is_their_number():
    assert inception_score(1000 * torch.eye(6).repeat(5, 1), splits=1).mean == pytest.approx(6)


def test_impossible_classes_give_a_number():
    assert inception_score(torch.tensor([[0.0, -1e6], [0.0, -2e6]]), splits=1).mean == pytest.approx(1)


def test_score_grows_with_certainty():
    scores = [inception_score(logits(400, scale=scale), splits=2).mean for scale in (0.5, 1, 2, 4)]
    assert scores == sorted(scores)
    assert scores[0] > 1
    assert scores[-1] < 10


@pytest.mark.parametrize(("shape", "splits"), [((5, 3), 6), ((5, 3), 0), ((5,), 1), ((0, 3), 1)])
def test_bad_shapes_and_splits_are_refused(shape, splits):
    with pytest.raises(InputError, match=rf"^logits of shape .* in {splits} splits: expected"):
        inception_score(torch.zeros(shape), splits=splits)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        inception_score(torch.tensor([[0.0, float("nan")], [0.0, 1.0]]), splits=1)


@pytest.mark.cuda
def test_cuda_gives_the_same_score():
    batch = logits(100)
    assert inception_score(batch.cuda()).mean == pytest.approx(inception_score(batch).mean, rel=1e-10)
