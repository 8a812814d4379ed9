"""Wrong calls of the commands, and a word that the error has to contain: what was passed, or what is allowed.

Names: `points` and `images` are teachers, `gen` and `classes` (three of them) generators for images, `bridge` one that
starts from images, `pictures` a folder of four grey images; the others are what their names say.
"""

#: command line | what is said
COMMANDS = """
distil | Did you mean 'distill'?
'' | unknown command
sample | model
sample gen --count 0 | count = 0
sample gen --count -3 | count = -3
sample gen --count 1e3 | 1e3
sample gen --count nan | nan
sample gen --count 1000000000000 | count = 1000000000000
sample gen --count 99999999999999999999999999 | count = 9999
sample gen --batch 0 | batch = 0
sample gen --batch many | many
sample gen --seed -1 | seed = -1
sample gen --seed 1.5 | 1.5
sample gen --seed 99999999999999999999999999 | seed = 9999
sample gen --device gpu | GPUs are called 'cuda'
sample gen --device cuda:99 | cuda:99
sample gen --device '' | device
sample gen --classes 0 | not conditional
sample classes --classes 7 | 7
sample classes --classes -1 | -1
sample classes --classes cat | cat
sample classes --classes 1.5 | 1.5
sample gen --guidance 2 | guidance
sample gen --guidance nan | guidance
sample gen --sampler euler | sampler
sample points --sampler eulr | Did you mean 'euler'?
sample points --sampler sde:-1 | sde:-1
sample points --sampler sde:nan | sde:nan
sample points --sampler euler:2 | only 'sde'
sample points --steps 0 | steps = 0
sample points --steps -5 | steps = -5
sample points --steps 99999999999999999999 | steps
sample points --guidance inf | guidance
sample points --guidance nan | guidance
sample points --guidance 3 | guidance
sample gen --out pictures | pictures
sample gen --out here.jpg | here.jpg
sample gen --out empty.file/x.png | empty.file
sample gen --out gen/model.safetensors | gen
sample gen --out gen | gen
sample gen --count | --count
sample gen --cuont 3 | --cuont
sample gen gen | gen
sample gen --data.source digits | data.source
sample gen --kind teacher | not a teacher
sample points --kind student | student
sample gen --key raw | key = raw
sample bridge | data
sample bridge --data.source toy:moons | pairs
sample bridge --data.source nowhere | nowhere
sample nowhere | no model at 'nowhere'
sample nowhere/at/all/x | no model at
sample empty.file | empty.file
sample empty.folder | empty.folder
sample empty.zip | empty.zip
sample empty.onnx | empty.onnx
sample empty.pt2 | empty.pt2
sample empty.safetensors | empty.safetensors
sample text.safetensors | text.safetensors
sample text.pt2 | text.pt2
sample text.onnx | text.onnx
sample missing.onnx | missing.onnx
sample missing.pt2 | missing.pt2
sample pipe | FIFO
sample pipe.onnx | FIFO
sample pipe.pt2 | FIFO
sample /dev/zero | device
sample . | no model
sample broken.json | broken.json
sample broken.link | broken.link
sample pictures | pictures
sample '[/b]' | [/b]
sample '[red]x' | [red]x
sample '\\x00' | model
sample '' | model
sample ' ' | model
restore gen pictures restored | starts from noise
restore bridge nowhere restored | nowhere
restore bridge empty.folder restored | empty.folder
restore bridge empty.file restored | empty.file
restore bridge text.zip restored | text.zip
restore bridge pipe restored | pipe
restore bridge pictures gen | gen
restore bridge pictures pictures | pictures
restore bridge pictures restored --label 1 | label
restore bridge pictures restored --batch 0 | batch = 0
restore bridge pictures restored --guidance 3 | guidance
restore bridge pictures restored --seed -1 | seed
restore bridge pictures restored --device tpu | tpu
restore bridge pictures restored.png | restored.png
restore bridge large restored | 11x11
restore bridge pictures empty.file/x | empty.file
restore nowhere pictures restored | nowhere
export gen | Missing
export gen out.onnx | to
export gen out.onnx --to onx | onx
export gen out.pt --to onnx | .onnx
export gen out.onnx --to torch | .pt2
export gen out.txt --to safetensors | .safetensors
export gen pictures --to diffusers | pictures
export gen empty.file --to diffusers | empty.file
export points out.safetensors --to safetensors | teacher
export nowhere out.safetensors --to safetensors | nowhere
export pictures out.safetensors --to safetensors | pictures
export gen out.safetensors --to safetensors --uint8 | uint8
export gen out.safetensors --to safetensors --precision fp16 | precision
export gen out.onnx --to onnx --precision fp8 | fp8
export gen out --to diffusers --licence 'a b c' | licence
export gen out.safetensors --to safetensors --licence mit | licence
export gen out.safetensors --to safetensors --ema-key 0.5 | ema_key
export gen out.safetensors --to safetensors --push-to-hub a/b | push_to_hub
export gen gen/out.safetensors --to safetensors --data.source nowhere | nowhere
export gen empty.folder --to safetensors | empty.folder
convert gen | Missing
convert gen gen | gen
convert gen pictures | pictures
convert gen out --to onnx | onnx
convert nowhere out | nowhere
convert empty.file out | empty.file
convert gen out --kind teacher | not a teacher
convert gen out --key 0.9 | key
convert points out.pt --to torchcfm | layout
convert gen out --adm.image-side -1 | image_side
convert gen out --adm.head-channels 0 | head_channels
convert gen empty.file/x | empty.file
info nowhere | nowhere
info empty.file | empty.file
info empty.folder | empty.folder
info broken.json | broken.json
info pipe | pipe
info /dev/null | /dev/null
info text.zip | text.zip
info bad.yaml | bad.yaml
info '[/b]' | [/b]
info gen --key raw | key
info gen points | points
evaluate gen | pass --data.source
evaluate gen --data.source nowhere | nowhere
evaluate gen --data.source toy:moons | shape
evaluate gen --data.source digits --samples 0 | samples = 0
evaluate gen --data.source digits --samples nan | nan
evaluate gen --data.source digits --seeds 0 | seeds = 0
evaluate gen --data.source digits --seeds -2 | seeds = -2
evaluate gen --data.source digits --steps 3 --sampler euler | sampler
evaluate gen --data.source digits --guidance inf | guidance
evaluate gen --data.source digits --extractor resnet | resnet
evaluate gen --data.source digits --inception-weights nowhere.pt | inception_weights
evaluate gen --data.source digits --out pictures | pictures
evaluate gen --data.source digits --out empty.file/x.json | empty.file
evaluate gen --data.source digits --extractor inception --inception-weights nowhere.pt | nowhere.pt
evaluate gen --data.source digits --device tpu | tpu
evaluate gen --data.source digits --data.channels 3 | channels = 3
evaluate gen --data.source digits --data.channels 2 | channels = 2
evaluate gen --data.source digits --data.resolution 0 | resolution = 0
evaluate gen --data.source digits --data.resolution 1000000 | resolution = 1000000
evaluate gen --data.source digits --data.pairs blur-1 | data.pairs
evaluate bridge --data.source digits | pairs
evaluate bridge --data.source digits --data.pairs blurr-1 | blur-1
evaluate nowhere --data.source digits | nowhere
check-teacher gen | not a teacher
check-teacher images --data.source toy:moons | shape
check-teacher images --images 0 | images = 0
check-teacher images --images -1 | images = -1
check-teacher images --seed -1 | seed = -1
check-teacher images --out pictures | pictures
check-teacher images --device tpu | tpu
check-teacher nowhere | nowhere
check-teacher images --key 0.5 | key
advise nowhere | nowhere
advise demo --teacher gen | not a teacher
advise demo --teacher nowhere | nowhere
advise demo --teacher images --count 0 | count = 0
advise demo --teacher images --count 9999999999999 | count = 9999999999999
advise demo --teacher images --data.source toy:moons | shape
advise demo --teacher images --device tpu | tpu
analyze --out empty.file | empty.file
analyze --out empty.file/x | empty.file
analyze --count 3 | --count
train nowhere.yaml | nowhere.yaml
train dmo | Did you mean 'demo'?
train empty.yaml | empty.yaml
train bad.yaml | bad.yaml
train latin.yaml | latin.yaml
train empty.folder | empty.folder
train pipe | pipe
train demo --out run --updates 0 | updates = 0
train demo --out run --updates -1 | updates = -1
train demo --out run --updates 99999999999999999999999999 | updates = 9999
train demo --out run --updates 1e6x | 1e6x
train demo --out run --batch 0 | batch = 0
train demo --out run --batch 100000 | batch of 100000
train demo --out run --lr nan | lr = nan
train demo --out run --lr inf | lr = inf
train demo --out run --lr -1 | lr = -1
train demo --out run --lr 0 | lr = 0
train demo --out run --label-dropout 2 | label_dropout = 2
train demo --out run --seed -1 | seed = -1
train demo --out run --steps 0 | steps = 0
train demo --out run --save-every -1 | save_every = -1
train demo --out run --log-every -1 | log_every = -1
train demo --out run --device tpu | tpu
train demo --out run --precision fp8 | fp8
train demo --out run --network.channels 0 | channels
train demo --out run --network.channels -8 8 | channels
train demo --out run --network.blocks 0 | blocks = 0
train demo --out run --network.dropout nan | dropout = nan
train demo --out run --network.dropout 1.5 | dropout = 1.5
train demo --out run --network.architecture vit | vit
train demo --out run --path.name vpp | vpp
train demo --out run --path.settings.gamma 1 | gamma
train demo --out run --data.source toy:rings | rings
train demo --out run --data.source hf: | hf:
train demo --out run --data.source '' | source of data is empty
train demo --out run --data.source empty.zip | empty.zip
train demo --out run --data.source text.zip | text.zip
train demo --out run --data.source pipe | pipe
train demo --out run --data.source /dev/zero | /dev/zero
train demo --out run --data.channels 2 | channels = 2
train demo --out run --data.resolution -4 | resolution = -4
train demo --out run --data.pairs grey | pairs
train demo --out run --data.source pictures --batch 5 | batch of 5
train demo --out pictures | pictures
train demo --out empty.file | empty.file
train demo --out empty.file/run | empty.file
train demo --resume --out nowhere | nothing to resume
train demo --resume --out pictures | nothing to resume
train demo --resum | --resum
distill demo:UIDD --teacher images --out run | UIDD
distill demo: --teacher images --out run | demo
distill demo --teacher nowhere --out run | nowhere
distill demo --teacher gen --out run | not a teacher
distill demo --teacher points --out run | shape
distill demo --teacher images --out run --alpha 0 | alpha = 0
distill demo --teacher images --out run --alpha nan | alpha = nan
distill demo --teacher images --out run --beta -1 | beta = -1
distill demo --teacher images --out run --beta inf | beta = inf
distill demo --teacher images --out run --objective realuidd | realuid
distill demo --teacher images --out run --fake-updates 0 | fake_updates = 0
distill demo --teacher images --out run --generator-lr nan | generator_lr = nan
distill demo --teacher images --out run --t-init 0 | t_init
distill demo --teacher images --out run --t-init 2 | t_init
distill demo --teacher images --out run --lambda-g -1 | lambda_g = -1
distill demo --teacher images --out run --guidance nan | guidance
distill demo --teacher images --out run --start nowhere | nowhere
distill demo --teacher images --out run --start-ema 0.5 | start
distill demo --teacher images --out run --start-fake | start
distill demo --teacher images --out run --key raw | key
distill demo --teacher images --out run --batch 0 | batch = 0
distill demo --teacher images --out run --ema 2 | ema
distill demo --teacher images --out run --adam-betas 1 1 | adam_betas
distill demo --teacher images --out run --data.source toy:moons | shape
distill demo --teacher images --out pictures | pictures
distill demo --resume --out nowhere | nothing to resume
sweep demo --teacher images --out run --alpha 0 | alpha
sweep demo --teacher images --out run --alpha nan | alpha
sweep demo --teacher images --out run --ratio -1 | ratio
sweep demo --teacher images --out run --seeds 0 | seeds = 0
sweep demo --teacher images --out run --processes 0 | processes = 0
sweep demo --teacher images --out run --search bayes | bayes
sweep demo --teacher images --out run --trials 0 | trials = 0
sweep demo --teacher images --out run --patience 2 | patience = 2
sweep demo --teacher images --out run --hopeless nan | hopeless
sweep demo --teacher nowhere --out run | nowhere
sweep demo:none --teacher images --out run | none
sweep demo --teacher images --out pictures | pictures
sweep demo --resume --out nowhere | nothing to resume
demo --family briDge | bridge
demo demo --family vp | --family vp
demo nowhere | nowhere
demo demo --out pictures | pictures
demo demo --out empty.file | empty.file
demo demo --out run --data.source nowhere | nowhere
demo demo --out run --evaluate.samples 0 | samples = 0
demo demo --out run --evaluate.steps nan | nan
demo --resume --out nowhere | nothing to resume
"""


def cases() -> list[tuple[str, str]]:
    """The command lines and what is said."""
    return [tuple(part.strip() for part in line.rsplit(" | ", 1)) for line in COMMANDS.strip().splitlines()]  # type: ignore[misc]
