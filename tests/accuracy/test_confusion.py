"""The confusion matrix and each class's score."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearn_matrix

from precbench.accuracy import check_classes, confusion_matrix, per_class, top_classes
from precbench.errors import DataError


def test_rows_are_true_classes_and_columns_predicted_ones():
    assert confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 2]), 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=50))
def test_the_matrix_is_scikit_learns(pairs):
    labels, predicted = np.array(pairs).T
    matrix = confusion_matrix(labels, predicted, 5)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, sklearn_matrix(labels, predicted, labels=range(5)))


def test_recall_and_precision_are_none_where_they_are_0_over_0():
    scores = per_class(confusion_matrix(np.array([0, 0, 2]), np.array([0, 1, 1]), 4))
    assert [score.recall for score in scores] == [0.5, None, 0, None]
    assert [score.precision for score in scores] == [1, 0, None, None]
    assert json.loads(json.dumps(scores[3].to_json(), allow_nan=False))["recall"] is None


def test_a_label_outside_the_classes_is_refused_with_its_value_and_index():
    with pytest.raises(DataError, match=r"the labels hold 10 at index 2, which is outside the classes 0\.\.9"):
        confusion_matrix(np.array([0, 9, 10, 11]), np.array([0, 1, 2, 3]), 10)


def test_a_predicted_class_outside_the_classes_is_refused_too():
    with pytest.raises(DataError, match="the predicted classes hold -1 at index 1"):
        confusion_matrix(np.array([0, 1]), np.array([0, -1]), 2)


def test_a_negative_label_is_refused_where_the_classes_are_unknown():
    with pytest.raises(DataError, match="the labels hold -3 at index 0, which is negative"):
        check_classes(np.array([-3, 1]))


def test_labels_that_are_no_integers_are_refused():
    with pytest.raises(DataError, match="the labels are float64, not integers"):
        check_classes(np.array([0.0, 1.0]))


@pytest.mark.parametrize("labels", [np.zeros((2, 3), dtype=int), np.zeros(0, dtype=int), np.int64(3)])
def test_labels_that_are_not_one_per_image_are_refused(labels):
    with pytest.raises(DataError, match="not one value per image"):
        check_classes(labels)


def test_the_top_class_is_the_first_of_the_highest_scores():
    assert top_classes(np.array([[0.1, 0.9], [0.5, 0.5], [-np.inf, np.inf]])).tolist() == [1, 0, 1]


def test_nan_scores_have_no_top_class():
    with pytest.raises(DataError, match="1 of 2 images have NaN scores, the first is image 1"):
        top_classes(np.array([[0.1, 0.9], [np.nan, 0.5]]))


@pytest.mark.parametrize("scores", [np.zeros(3), np.zeros((2, 0)), np.zeros((1, 2, 3)), np.array([["a", "b"]])])
def test_scores_that_are_no_classifiers_are_refused(scores):
    with pytest.raises(DataError, match="are no classifier's"):
        top_classes(scores)
