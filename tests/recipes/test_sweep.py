"""Sweeps: when a trial is hopeless, what a sweep goes on with, and that killing one loses nothing finished."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from realuid.cli.main import main
from realuid.errors import CheckpointError
from realuid.locks import claimed
from realuid.models import MLP, MatchingModel, save_pretrained
from realuid.paths import make_path
from realuid.recipes import SweepConfig, load_recipe
from realuid.recipes import sweep as run_sweep_module
from realuid.recipes.sweep import is_hopeless, read_results, write_results
from realuid.recipes.trials import make_trials
from realuid.training import DistillConfig

RECIPE = {
    "name": "points",
    "data": {"source": "toy:moons"},
    "network": {"architecture": "mlp", "channels": [16], "blocks": 2},
    "distill": {"updates": 40, "batch": 32, "fake_updates": 1, "evaluate_every": 10, "save_every": 10}
    | {"quick_samples": 200, "device": "cpu", "generator_lr": 1e-3, "fake_lr": 1e-3, "log_every": 0},
    "evaluate": {"samples": 300, "seeds": 1},
    "sweep": {"alpha": [0.9, 1.0], "ratio": [0.98, 1.0], "hopeless": 0},
}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "points.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path / "points.yaml"


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    import torch

    torch.manual_seed(0)
    return save_pretrained(MatchingModel(MLP(2, 16, 2), make_path("linear")), tmp_path / "teacher")


def test_a_teacher_that_needs_pairs_is_refused_before_anything_is_written(recipe, tmp_path: Path, capsys) -> None:
    bridge = MatchingModel(MLP(2, 16, 2, sees_source=True), make_path("brownian_bridge"))
    assert sweep(recipe, save_pretrained(bridge, tmp_path / "bridge"), tmp_path / "sweep") == 2
    assert "a coupled path needs pairs, but 'toy:moons' has none" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sweep").exists()


def sweep(recipe: Path, teacher: Path, out: Path, *more: str) -> int:
    return main(["sweep", str(recipe), "--teacher", str(teacher), "--out", str(out), "--trust-teacher", *more])


def test_a_trial_is_hopeless_when_far_above_the_median_of_the_others() -> None:
    def history(*fds: float) -> list[dict]:
        return [{"update": 10 * (i + 1), "fd": fd} for i, fd in enumerate(fds)]

    config = SweepConfig(hopeless=2.0, patience=0.25)
    others = [history(9, 4, 1), history(12, 5, 1), history(10, 6, 1)]
    assert is_hopeless(history(30, 11), others, config, 40)  # 11 > 2 x 5
    assert not is_hopeless(history(30, 9), others, config, 40)
    assert not is_hopeless(history(30, 8, 50), others, SweepConfig(hopeless=9.0), 40)  # its best counts
    assert not is_hopeless(history(30, 11), others[:2], config, 40)  # too few to compare with
    assert not is_hopeless(history(30, 11), others, config, 100)  # too early
    assert not is_hopeless(history(30, 11), others, SweepConfig(hopeless=0.0), 40)


def test_a_claim_is_exclusive_and_ends(tmp_path: Path) -> None:
    with claimed(tmp_path / "a") as first, claimed(tmp_path / "a") as second, claimed(tmp_path / "b") as other:
        assert (first, second, other) == (True, False, True)
    with claimed(tmp_path / "a") as again:
        assert again


@pytest.mark.slow
def test_hopeless_trials_stop_and_the_page_says_so(recipe, teacher, tmp_path, monkeypatch, capsys) -> None:
    from realuid.metrics import Evaluator

    fds = iter(
        [5.0, 4.0, 3.0, 2.0, 2.5] * 3 + [50.0, 60.0, 70.0, 80.0, 80.0]
    )  # four evaluations and a measurement each

    class Scores:
        kid = precision = recall = diversity = sliced = float("nan")

        def __init__(self) -> None:
            self.fd = next(fds)

    monkeypatch.setattr(Evaluator, "score_each", lambda *a, **k: [Scores()])
    arguments = ["--hopeless", "2", "--patience", "0.5", "--alpha", "0.8", "0.9"]
    assert sweep(recipe, teacher, tmp_path / "s", *arguments) == 0
    results = read_results(tmp_path / "s")
    assert [r["status"] for r in results] == ["finished"] * 3 + ["stopped"]
    assert [r["fd"] for r in results] == [2.5, 2.5, 2.5, 50.0]
    assert [h["update"] for h in results[3]["history"]] == [10, 20]
    page = (tmp_path / "s" / "sweep.html").read_text()
    assert page.count("<svg") == 1 and "4 of 4 trials finished" in page and ">×</td>" in page
    assert "FD stopped" in capsys.readouterr().out
    assert not list((tmp_path / "s").glob("trials/*/checkpoints"))


@pytest.mark.slow
def test_a_killed_sweep_resumes_without_losing_a_finished_trial(recipe, teacher, tmp_path: Path) -> None:
    """Killed in the middle of its third trial: the finished ones stay as they are, the half-finished one ends as it
    would have without the kill, and so do the rest."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert sweep(recipe, teacher, whole) == 0
    command = [sys.executable, "-m", "realuid.cli.main", "sweep", str(recipe), "--teacher", str(teacher)]
    process = subprocess.Popen(
        [*command, "--trust-teacher", "--out", str(cut)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    third = cut / "trials" / make_trials(load_recipe(str(recipe)).sweep, DistillConfig())[0][2].name
    deadline = time.monotonic() + 120
    while not (third / "checkpoints" / "0000010").is_dir():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {p: p.read_bytes() for p in cut.glob("trials/*/result.json")}
    assert len(finished) == 2
    (next(iter(finished)).parent / "checkpoints" / "0000010").mkdir(parents=True)  # killed before it was removed
    assert sweep(recipe, teacher, cut) == 2  # without --resume nothing is touched
    for changed in (["--alpha", "0.5"], ["--distill.updates", "99"], ["--evaluate.seeds", "9"]):
        assert main(["sweep", "--resume", "--out", str(cut), *changed]) == 2
    assert main(["sweep", "--resume", "--out", str(cut)]) == 0  # recipe and teacher are remembered
    assert all(p.read_bytes() == content for p, content in finished.items())
    assert not list(cut.glob("trials/*/checkpoints"))

    def figures(folder: Path) -> list:
        return [{k: v for k, v in r.items() if k != "seconds"} for r in read_results(folder)]

    assert figures(cut) == figures(whole) and len(figures(cut)) == 3
    rows = json.loads((cut / "results.json").read_text())["settings"]
    assert [row["fd_mean"] for row in rows] == sorted((row["fd_mean"] for row in rows), reverse=True)


@pytest.mark.slow
def test_two_processes_share_the_trials(recipe, teacher, tmp_path: Path) -> None:
    assert sweep(recipe, teacher, tmp_path / "s", "--processes", "2", "--distill.updates", "10") == 0
    assert [r["status"] for r in read_results(tmp_path / "s")] == ["finished"] * 3


def _fail_in_helper(recipe: object, teacher: object, folder: Path, parent: int, threads: int, number: int) -> None:
    sys.exit(5)


@pytest.mark.slow
def test_what_an_additional_process_leaves_is_finished(recipe, teacher, tmp_path: Path, monkeypatch, capsys) -> None:
    """The first trial is in its hands until it ends, too late for the first pass."""
    monkeypatch.setattr("realuid.recipes.sweep._helper", _fail_in_helper)
    passes: list[int] = []

    def work(*arguments: object) -> None:
        passes.append(1)
        if len(passes) == 2:
            whole(*arguments)  # type: ignore[arg-type]

    whole = run_sweep_module._work
    monkeypatch.setattr(run_sweep_module, "_work", work)
    assert sweep(recipe, teacher, tmp_path / "s", "--processes", "2", "--distill.updates", "2") == 0
    assert "1 of 2 processes ended early" in " ".join(capsys.readouterr().out.split())
    assert [r["status"] for r in read_results(tmp_path / "s")] == ["finished"] * 3


def _work_on(*_: object) -> None:
    time.sleep(600)


@pytest.mark.slow
def test_an_interrupt_of_the_first_process_ends_the_others(recipe, teacher, tmp_path: Path, monkeypatch) -> None:
    """Before, the command waited for them, and they for no more trials."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("realuid.recipes.sweep._helper", _work_on)
    monkeypatch.setattr("realuid.recipes.sweep._work", interrupted)
    monkeypatch.setattr("realuid.recipes.helpers.GRACE", 0.1)
    assert sweep(recipe, teacher, tmp_path / "s", "--processes", "2", "--distill.updates", "2") == 130
    for process in multiprocessing.active_children():
        process.join(30)
        assert process.exitcode == -signal.SIGTERM


@pytest.mark.parametrize("command", ["sweep", "demo"])
def test_what_is_not_divided_is_refused_to_several(command, recipe, teacher, tmp_path, monkeypatch, capsys) -> None:
    """A sweep's trials would have been mixed, and a demo's processes would have waited for one another."""
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("realuid.cli.main.heed_interrupts", lambda: None)
    words = ["--teacher", str(teacher)] if command == "sweep" else []
    assert main([command, str(recipe), *words, "--out", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"a {command} is not divided among processes, but 2 were started together" in said
    assert not (tmp_path / "out").exists()


def test_results_average_seeds_and_put_the_best_last(recipe, tmp_path: Path) -> None:
    fds = {(0.9, 0.98): (5.0, 3.0), (0.9, 1.0): (9.0, 7.0), (1.0, 1.0): (6.0, None)}
    for (alpha, ratio), values in fds.items():
        for seed, fd in enumerate(values):
            folder = tmp_path / "trials" / f"{alpha}-{ratio}-{seed}"
            folder.mkdir(parents=True)
            result = {
                "settings": {"alpha": alpha, "ratio": ratio, "seed": seed},
                "beta": alpha * ratio,
                "fd": 99.0 if fd is None else fd,
                "status": "stopped" if fd is None else "finished",
                "history": [{"update": 10 * i, "fd": 20 / i + (fd or 30)} for i in range(1, 5)],
            }
            (folder / "result.json").write_text(json.dumps(result))
    rows = write_results(load_recipe(str(recipe)), Path("t"), tmp_path)["settings"]
    assert [(row["fd_mean"], row["finished"]) for row in rows] == [(8.0, 2), (6.0, 1), (4.0, 2)]
    assert rows[-1]["fd_std"] == pytest.approx(2**0.5) and rows[-1]["settings"] == {"alpha": 0.9, "ratio": 0.98}
    page = (tmp_path / "sweep.html").read_text()
    assert "Best: alpha 0.9, beta 0.882, with FD 4" in page and page.count("<svg") == 1
    cells = [">8</td>", ">6</td>", ">4</td>"]
    assert all(page.count(cell) == 1 for cell in cells)
    assert page.index("4.000") < page.index("6.000") < page.index("8.000")  # people read the best first


def test_a_trial_that_cannot_be_made_is_told_before_the_first_one(recipe, teacher, tmp_path: Path, capsys) -> None:
    recipe.write_text(yaml.safe_dump({**RECIPE, "sweep": RECIPE["sweep"] | {"others": {"guidance": [1, 2]}}}))
    assert sweep(recipe, teacher, tmp_path / "sweep") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "trial 001-alpha=0.9-ratio=0.98-guidance=2-seed=0: guidance = 2: the model was not trained" in error
    assert not (tmp_path / "sweep").exists()


def test_a_resumed_sweep_takes_a_teacher_that_has_moved(recipe, teacher, tmp_path: Path, monkeypatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(
        "realuid.recipes.sweep.run_sweep", lambda recipe, teacher, *_, **__: asked.append(teacher) or 1 / 0
    )
    (tmp_path / "sweep.yaml").write_text(recipe.read_text())
    (tmp_path / "teacher.txt").write_text("runs/old\n/old\n\n")
    for words in ((), ("--teacher", str(teacher))):
        assert main(["sweep", "--resume", "--out", str(tmp_path), *words]) == 1
    assert asked == ["/old", str(teacher)]


@pytest.mark.parametrize("what", ["teacher", "distill", "data", "evaluate"])
def test_a_sweep_goes_on_with_what_it_was_begun_with(what: str, recipe, teacher, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(run_sweep_module, "_work", lambda *_: None)
    used, out = load_recipe(str(recipe)), tmp_path / "sweep"

    def run(recipe=used, teacher=teacher) -> None:
        run_sweep_module.run_sweep(recipe, teacher, out, say=lambda _: None)

    run()
    (out / "inputs.json").unlink()  # as earlier versions left it
    run()
    run(teacher=teacher.rename(tmp_path / "moved"))
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    other: dict = {"recipe": used, "teacher": tmp_path / "moved"}
    if what == "teacher":
        other["teacher"] = save_pretrained(MatchingModel(MLP(2, 16, 2), make_path("linear")), tmp_path / "other")
    else:
        name, value = {"distill": ("updates", 50), "data": ("source", "toy:spiral"), "evaluate": ("samples", 301)}[what]
        section = dataclasses.replace(getattr(used, what), **{name: value})
        other["recipe"] = dataclasses.replace(used, **{what: section})
    said = "updates" if what == "distill" else what
    with pytest.raises(CheckpointError, match=f"was made with another {said}. Resume with the same"):
        run(**other)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
