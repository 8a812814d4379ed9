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
