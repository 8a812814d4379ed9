"""Columns that are read by index give what tensors give."""

from __future__ import annotations

import pytest
import torch
from stored import Stored, stored

from realuid.data import Dataset, load_dataset
from realuid.data.columns import Derived, Rows
from realuid.data.pairs import with_degradation
from realuid.errors import DataError

VALUES = torch.arange(7 * 4, dtype=torch.uint8).view(7, 1, 2, 2)
INDICES = [torch.tensor([5, 0, 5]), slice(2, 6), slice(None), torch.arange(7) % 2 == 0, torch.tensor([], dtype=int)]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_means_what_it_means_for_tensors(index) -> None:
    column = Stored(VALUES)
    assert torch.equal(column[index], VALUES[index])
    assert torch.equal(Rows(column, torch.tensor([6, 1, 3, 2, 0, 4, 5]))[index], VALUES[[6, 1, 3, 2, 0, 4, 5]][index])
    assert torch.equal(Derived(column, lambda rows: 255 - rows, "negative")[index], 255 - VALUES[index])


def test_what_is_read_ahead_is_read_once_and_by_workers() -> None:
    column, index = Stored(VALUES), torch.tensor([3, 1])
    column.prefetch(index)
    column.prefetch(index)
    assert torch.equal(column[index], VALUES[index]) and column.reads == [[3, 1]]
    assert column.threads[0].startswith("realuid-data")
    column[index]
    assert column.reads == [[3, 1]] * 2 and not column.threads[1].startswith("realuid-data")


def test_what_was_read_ahead_in_vain_is_forgotten() -> None:
    column = Stored(VALUES)
    for i in range(100):
        column.prefetch(torch.tensor([i % 7, i // 7 % 7, 0]))
    assert len(column._pending) <= 16


def test_an_error_of_a_worker_is_raised_where_the_rows_are_asked_for() -> None:
    column = Stored(VALUES)
    column.prefetch(torch.tensor([99]))
    with pytest.raises(IndexError):
        column[torch.tensor([99])]


def test_fingerprints_name_content_rows_and_functions() -> None:
    column, same, other = Stored(VALUES), Stored(VALUES.clone()), Stored(VALUES + 1)
    assert column.fingerprint == same.fingerprint != other.fingerprint
    first, second = Rows(column, slice(3)), Rows(column, slice(4))
    names = {column.fingerprint, first.fingerprint, second.fingerprint, Derived(column, abs, "a").fingerprint}
    assert len(names | {Derived(column, abs, "b").fingerprint}) == 5
    data = [Dataset(c, torch.arange(7), classes=tuple("abcdefg")) for c in (column, same, other)]
    assert data[0].fingerprint() == data[1].fingerprint() != data[2].fingerprint()
    assert data[0].without_labels().fingerprint() != data[0].fingerprint()


def test_pairs_made_of_rows_are_those_made_at_once(digits) -> None:
    at_once = load_dataset("digits", pairs="inpaint-freeform", pairs_seed=3)
    by_rows = with_degradation(stored(digits), "inpaint-freeform", 3)
    index = torch.tensor([700, 3, 1500])
    assert torch.equal(by_rows.take(index).sources, at_once.sources[index])
    assert by_rows.fingerprint() == stored(digits).fingerprint() != by_rows.fingerprint(pairs=True)


def test_taken_samples_are_those_of_all_columns(digits) -> None:
    data = Dataset(digits.values, digits.labels, "d", digits.classes, columns={"vector": torch.randn(len(digits), 3)})
    index = torch.tensor([9, 4])
    for which in (data, stored(data), stored(data).subset(torch.arange(20))):
        batch = which.take(index)
        assert torch.equal(batch.values, data.values[index]) and torch.equal(batch.labels, data.labels[index])
        assert torch.equal(batch.columns["vector"], data.columns["vector"][index]) and batch.sources is None


def test_columns_are_checked_without_being_read() -> None:
    with pytest.raises(DataError, match=r"uint8 images of shape \(7, 4\)"):
        Dataset(Stored(VALUES.view(7, 4)))
    with pytest.raises(DataError, match=r"values are torch.int64"):
        Dataset(Stored(VALUES.long()))
    assert Dataset(Stored(VALUES, most=0)).shape == (1, 2, 2)
