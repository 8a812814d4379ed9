"""A few hundred damaged checkpoints; ten thousand of each are in benchmarks/fuzz_checkpoints.py."""

import os

import fuzzing
import pytest


@pytest.mark.parametrize("fuzz", [fuzzing.fuzz_pickles, fuzzing.fuzz_folders], ids=["pickles", "folders"])
def test_damaged_checkpoints_load_or_raise_the_librarys_errors(fuzz, tmp_path):
    outcomes = list(fuzz(tmp_path, 300, seed=0))
    assert len(outcomes) == 300 and set(outcomes) <= {"loaded", "CheckpointError"}
    assert 5 < outcomes.count("loaded") < 200  # the mutations neither do nothing nor destroy everything


def test_damaged_pipelines_load_or_raise_the_librarys_errors(tmp_path):
    outcomes = list(fuzzing.fuzz_diffusers(tmp_path, 80, seed=0))
    assert len(outcomes) == 80 and "loaded" in outcomes
    assert set(outcomes) <= {"loaded", "CheckpointError", "ConfigError"}


def test_damaged_programs_load_or_raise_the_librarys_errors(tmp_path):
    outcomes = list(fuzzing.fuzz_programs(tmp_path, 60, seed=0))
    assert len(outcomes) == 60 and "loaded" in outcomes
    assert set(outcomes) <= {"loaded", "stopped", "CheckpointError", "ConfigError"}


def test_the_watch_sees_what_it_should(tmp_path):
    def load():
        os.system("true")

    with pytest.raises(AssertionError, match=r"os\.system"):
        fuzzing.outcome(load)


def test_undamaged_checkpoints_load(tmp_path):
    for data, _ in fuzzing.pickles(tmp_path):
        (tmp_path / "whole.pkl").write_bytes(data)
        assert fuzzing.outcome(lambda: fuzzing.load_edm_pickle(tmp_path / "whole.pkl")) == "loaded"
    for folder, *_ in fuzzing.folders(tmp_path):
        assert fuzzing.outcome(lambda folder=folder: fuzzing.from_pretrained(folder)) == "loaded"
