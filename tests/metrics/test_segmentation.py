import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autogas.errors import InputError
from autogas.metrics import confusion_matrix, segmentation_scores

CLASSES, IGNORED = 5, 255


@st.composite
def label_maps(draw):
    pixels = draw(st.integers(1, 30))
    predicted = draw(st.lists(st.integers(0, CLASSES - 1), min_size=pixels, max_size=pixels))
    true = draw(st.lists(st.sampled_from([0, 1, 2, 4, IGNORED]), min_size=pixels, max_size=pixels))
    return predicted, true


def brute_force(predicted, true):
    pairs = [(p, t) for p, t in zip(predicted, true, strict=True) if t != IGNORED]
    ious = []
    for c in range(CLASSES):
        both = sum(p == c and t == c for p, t in pairs)
        either = sum(p == c or t == c for p, t in pairs)
        if either:
            ious.append(both / either)
    return sum(ious) / len(ious), sum(p == t for p, t in pairs) / len(pairs)


@given(label_maps())
def test_scores_are_those_of_counting_pixels(maps):
    predicted, true = maps
    matrix = confusion_matrix(torch.tensor(predicted), torch.tensor(true), classes=CLASSES)
    if all(t == IGNORED for t in true):
        with pytest.raises(InputError, match="without pixels"):
            segmentation_scores(matrix)
        return
    scores = segmentation_scores(matrix)
    miou, accuracy = brute_force(predicted, true)
    assert math.isclose(scores.miou, miou, abs_tol=1e-12)
    assert math.isclose(scores.pixel_accuracy, accuracy, abs_tol=1e-12)


def test_rows_are_true_and_columns_predicted():
    matrix = confusion_matrix(torch.tensor([[2, 2], [0, 1]]), torch.tensor([[1, 1], [0, 255]]), classes=3)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 2], [0, 0, 0]]


def test_matrices_add_up():
    rng = np.random.default_rng(0)
    predicted, true = (torch.from_numpy(rng.integers(0, CLASSES, (4, 8, 8))) for _ in range(2))
    together = confusion_matrix(predicted, true, classes=CLASSES)
    apart = sum(confusion_matrix(p, t, classes=CLASSES) for p, t in zip(predicted, true, strict=True))
    assert torch.equal(together, apart)
    assert int(together.sum()) == true.numel()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_any_whole_numbers_will_do(dtype):
    labels = torch.tensor([0, 1, 30]).to(dtype)
    assert segmentation_scores(confusion_matrix(labels, labels, classes=31)).miou == 1


def test_nothing_is_ignored_when_asked():
    with pytest.raises(InputError, match="true label 255: expected 0 to 4"):
        confusion_matrix(torch.tensor([0]), torch.tensor([255]), classes=CLASSES, ignore_index=None)


@pytest.mark.parametrize(
    ("predicted", "true", "said"),
    [
        ([5], [0], "predicted label 5: expected 0 to 4"),
        ([-1], [0], "predicted label -1"),
        ([0], [7], "true label 7"),
        ([0, 1], [0], "(2,) and (1,)"),
        ([0.0], [0.0], "whole numbers"),
    ],
)
def test_bad_label_maps_are_refused(predicted, true, said):
    with pytest.raises(InputError) as error:
        confusion_matrix(torch.tensor(predicted), torch.tensor(true), classes=CLASSES)
    assert said in str(error.value)
