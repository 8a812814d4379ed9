"""`realuid doctor` and shell completion."""

from __future__ import annotations

import subprocess
from importlib import metadata

import pytest

from realuid.cli import doctor
from realuid.cli.completion import options_of, script
from realuid.cli.main import COMMANDS, main


def test_the_doctor_names_versions_and_what_is_missing_for_what(monkeypatch, capsys) -> None:
    def version(name: str) -> str:
        if name == "onnxscript":
            raise metadata.PackageNotFoundError
        return "1.2.3"

    monkeypatch.setattr(doctor.metadata, "version", version)
    monkeypatch.setenv("REALUID_CACHE", "/nowhere")
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "torch 1.2.3, diffusers 1.2.3" in said[1] and said[2].startswith(("device: cpu", "device: cuda"))
    assert any(line.startswith("cache: /nowhere (empty") for line in said)
    (missing,) = (line for line in said if line.startswith("missing"))
    assert "realuid[onnx] (onnxscript)" in missing and missing.endswith("pip install 'realuid[onnx]'")


def test_every_extra_is_known(request) -> None:
    import tomllib

    project = tomllib.loads((request.config.rootpath / "pyproject.toml").read_text())["project"]
    extras = {name: text for name, text in project["optional-dependencies"].items() if name in doctor.EXTRAS}
    assert extras.keys() == doctor.EXTRAS.keys()
    for name, (packages, _) in doctor.EXTRAS.items():
        assert all(any(line.startswith(package) for line in extras[name]) for package in packages)


def test_completion_of_bash(tmp_path) -> None:
    (tmp_path / "c.sh").write_text(script("bash"))
    ask = 'source c.sh; COMP_WORDS=(realuid "${@:1}"); COMP_CWORD=$#; _realuid; echo "${COMPREPLY[@]}"'

    def completed(*words: str) -> list[str]:
        run = subprocess.run(["bash", "-c", ask, "_", *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.split()

    assert completed("ex") == ["export"]
    assert completed("distill", "--generator-l") == ["--generator-lr"]
    assert completed("sample", "runs") == []  # names of files are the shell's
    assert set(completed("")) == set(COMMANDS)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_of_other_shells(shell: str, capsys) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert "generator-lr" in said and "check-teacher" in said


def test_options_are_those_of_the_help() -> None:
    assert {"--data.source", "--lr", "--resume", "--dry-run"} <= set(options_of("train"))
