"""The sentences of a report say what its figures say."""

from __future__ import annotations

from realuid.reports.words import headline, lead


def entry(name: str, fd: float, spread: float = 0.01, **extra) -> dict:
    return {"name": name, "fd": [fd, fd], "fd_mean": fd, "fd_std": spread, "calls": 1, **extra}


def results(*students: dict) -> dict:
    teacher = entry("teacher", 2.0, calls=50, images_per_second=100.0)
    return {"teacher": teacher, "students": list(students), "data": "digits", "fd_of_real": 0.25}


def test_the_answer_is_the_best_student_beside_the_teacher() -> None:
    found = results(
        entry("a", 4.0, images_per_second=900.0),
        entry("b", 3.0, images_per_second=1210.0, calls=2, label="0.96, 0.98"),
    )
    assert headline(found) == "2 network calls instead of 50: 12× faster, 1.5× the teacher's FD"
    said = lead(found)
    assert said.startswith("Student b (0.96, 0.98) makes 1,210 images a second, the teacher 100. Its FD to digits is 3")
    assert "the teacher's 2 ± 0.01; as many real images, drawn at random, would have 0.25." in said


def test_points_are_compared_by_a_distance_that_sees_shapes() -> None:
    found = results(
        entry("filled in", 1.0, images_per_second=500.0, sliced=0.4),
        entry("right", 2.0, images_per_second=500.0, sliced=0.1),
    )
    found["teacher"] |= {"sliced": 0.05}
    assert headline(found) == "1 network call instead of 50: 5.0× faster, 2× the teacher's sliced Wasserstein distance"
    assert lead(found).startswith("Student right makes") and "to digits is 0.1, the teacher's 0.05." in lead(found)
