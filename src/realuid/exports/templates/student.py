"""The pipeline of a distilled student: that of its teacher, called as the student was trained unless told otherwise."""

from diffusers import StableDiffusion3Pipeline

#: Arguments of its calls where the pipeline has other defaults: no classifier-free guidance, the size of its samples.
DEFAULTS = {"guidance_scale": 1.0}


class StudentPipeline(StableDiffusion3Pipeline):
    """A student's guidance is in its weights, so none is added."""

    def __call__(self, prompt=None, **given):
        return super().__call__(prompt, **{**DEFAULTS, **given})
