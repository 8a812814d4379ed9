"""realuid play STUDENT: a local page to sample a student."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from realuid.cli.options import ModelOptions, console, load_sampled, parse
from realuid.errors import ConfigError


@dataclass(frozen=True)
class Options:
    """Open a page on this machine to sample a student: seed, class, prompts or image, calls, time taken, teacher."""

    #: A student, as for `realuid sample`, or an exported one.
    model: tyro.conf.Positional[str]
    #: Its teacher, shown beside it at the same noise. None: not shown.
    teacher: str | None = None
    #: Prompts that the page starts with, or a text file with one a line (students that read prompts).
    prompts: tuple[str, ...] = ()
    #: Encoder of the prompts: words, minilm, or a folder or Hub id. None: the student's.
    prompt_encoder: str | None = None
    #: Port of the page. None: the first free one from 7860 on.
    port: int | None = None
    #: Open the page in a browser.
    browser: bool = True
    #: Device: auto (CUDA if available; ONNX files run on the CPU), cpu or cuda.
    device: str = "auto"
    loading: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)


def run(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse(Options, "play", arguments)

    from realuid.data.captions import listed_prompts
    from realuid.loaders import load_teacher
    from realuid.models import MatchingModel, resize
    from realuid.models.networks.prompted import PromptNetwork
    from realuid.play import Player, serve
    from realuid.play.web import check_gradio

    check_gradio()
    student = load_sampled(options.model, options.loading, options.device)
    if isinstance(student, MatchingModel):
        raise ConfigError(f"'{options.model}' is a teacher. Pass a student, and the teacher as --teacher.")
    teacher = None if options.teacher is None else load_teacher(options.teacher).to(student.device)
    if teacher is not None and isinstance(teacher.network, PromptNetwork):
        resize(teacher, student.image_shape[1:])
    player = Player(student, teacher, options.prompt_encoder or "")
    if not player.prompted and (options.prompts or options.prompt_encoder):
        raise ConfigError("--prompts: the student reads no prompts. Leave them out.")
    address = serve(player, options.model, options.port, options.browser, listed_prompts(options.prompts))
    console.print(f"page: {address} (Ctrl-C ends it)")
    while True:
        time.sleep(3600)
