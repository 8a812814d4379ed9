"""The page of the playground, made with gradio (extra `play`)."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import escape
from PIL import Image

from realuid.data.captions import lines_of
from realuid.errors import ConfigError, RealUIDError
from realuid.play.player import EVERY, MOST, Asked, Player

if TYPE_CHECKING:
    import gradio

#: Small pictures are shown pixel by pixel.
_STYLE = ".pixels img { image-rendering: pixelated; }"

_PICTURE: dict[str, Any] = {
    "show_label": False,
    "format": "png",
    "elem_classes": "pixels",
    "buttons": ["download", "fullscreen"],
}


def check_gradio() -> None:
    """Raise ConfigError if gradio is not installed."""
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError("the playground needs the extra: pip install 'realuid[play]'.")


def page(player: Player, title: str = "realuid", prompts: Sequence[str] = ()) -> gradio.Blocks:
    """The page of a player.

    Args:
        player: student and teacher.
        title: heading of the page, plain text.
        prompts: what it starts with (students that read prompts).

    Raises:
        ConfigError: if gradio is not installed.
    """
    check_gradio()
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio as gr

    sample = _sampler(player)
    with gr.Blocks(title=title, analytics_enabled=False) as blocks:
        gr.HTML(f"<h1>{escape(title)}</h1>")
        with gr.Row():
            with gr.Column(scale=1, min_width=260):
                inputs = _controls(player, prompts)
            outputs: list[Any] = []
            for name, heading, there in (
                ("student", "**Student**", True),
                ("teacher", "**Teacher**, from the same noise", player.teacher is not None),
            ):
                with gr.Column(scale=2, min_width=300, visible=there):
                    gr.Markdown(heading)
                    outputs.append(gr.Image(elem_id=name, **_PICTURE))
                    outputs.append(gr.Markdown(elem_id=f"{name}-latency"))
        for control in inputs:
            for on_change in _events(control):
                on_change(sample, inputs, outputs, show_progress="minimal", trigger_mode="always_last")
        blocks.load(sample, inputs, outputs)
    return blocks


def _sampler(player: Player) -> Callable[..., list[Any]]:
    """Values of the controls -> picture and text of the student, picture and text of the teacher."""
    import gradio as gr

    def sample(
        prompts: str,
        seed: float,
        count: float,
        label: str,
        calls: float,
        image: Image.Image | None,
        steps: float,
        guidance: float,
    ) -> list[Any]:
        lines = tuple(line.strip() for line in lines_of(prompts or "") if line.strip())
        asked = Asked(int(seed or 0), int(count), label or EVERY, int(calls), image, int(steps), lines, guidance)
        if player.student.coupled and image is None:
            return [None, "Upload an image to restore.", None, ""]
        if player.prompted and not lines:
            return [None, "Write a prompt.", None, ""]
        try:
            ours, theirs = player.play(asked), player.play_teacher(asked)
        except RealUIDError as error:
            raise gr.Error(str(error)) from error
        if theirs is None:
            return [ours.picture, ours.text, None, ""]
        faster = f": {theirs.seconds / ours.seconds:.1f} times faster than the teacher"
        return [ours.picture, ours.text + faster, theirs.picture, theirs.text]

    return sample


def _controls(player: Player, prompts: Sequence[str]) -> list[Any]:
    """What is asked for, in the order of `_sampler`; what a model does not have is hidden."""
    import gradio as gr

    student, numbers, guidance = player.student, player.calls, player.guidance
    image = gr.Image(label="Image to restore", type="pil", visible=student.coupled, elem_id="upload")
    text = gr.Textbox(
        "\n".join(prompts),
        lines=3,
        label="Prompts",
        info="One a line, a column each. Shift+Enter samples.",
        visible=player.prompted,
        elem_id="prompts",
    )
    seed = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed")
    again = gr.Button("Another seed", elem_id="again")
    again.click(lambda seed: int(seed or 0) + 1, seed, seed)
    labels = player.labels
    label = gr.Dropdown(labels or [EVERY], value=EVERY, label="Class", visible=bool(labels), elem_id="class")
    calls = gr.Radio(numbers, value=numbers[-1], label="Network calls", visible=len(numbers) > 1, elem_id="calls")
    usual, there = 1 if student.coupled else 4 * len(prompts) or 25, player.teacher is not None
    count = gr.Slider(1, MOST, value=min(usual, MOST), step=1, label="Number of samples", elem_id="count")
    steps = gr.Slider(5, 100, value=50, step=5, label="Steps of the teacher", visible=there, elem_id="steps")
    scale = gr.Slider(
        0, 15, value=guidance or 1.0, step=0.5, label="Guidance of the teacher", visible=guidance is not None
    )
    return [text, seed, count, label, calls, image, steps, scale]


def _events(control: Any) -> list[Callable[..., Any]]:
    """What asks for new samples: a changed value; a slider that is let go; a text that is sent or left."""
    import gradio as gr

    if isinstance(control, gr.Textbox):
        return [control.submit, control.blur]
    return [control.release if isinstance(control, gr.Slider) else control.change]


def serve(
    player: Player,
    title: str = "realuid",
    port: int | None = None,
    browser: bool = False,
    prompts: Sequence[str] = (),
) -> str:
    """Serve the page on this machine alone until the process ends.

    Args:
        player, title, prompts: see `page`.
        port: of the server; None: a free one from 7860 on.
        browser: open it.

    Returns:
        its address; the server runs in a thread.
    """
    import gradio as gr

    check_gradio()
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    _, address, _ = page(player, title, prompts).launch(
        server_name="127.0.0.1",
        server_port=port,
        inbrowser=browser,
        prevent_thread_lock=True,
        quiet=True,
        theme=theme,
        css=_STYLE,
    )
    return str(address)
