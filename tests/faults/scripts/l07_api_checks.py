"""Python interface: data of a Path, labels out of range or too few, labels that are no classes: raw torch errors."""

import torch
from common import W, png, tiny, verdict

import realuid
from realuid.data import Dataset

tiny("g", classes=10)
G = realuid.load_generator("g")
bad = []


def seen(what, f):
    try:
        f()
    except realuid.api.__dict__.get("RealUIDError", ValueError):
        pass
    except Exception as e:
        bad.append(f"{what}: {type(e).__name__}")


img = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
n = realuid.NetworkConfig(channels=(8, 8), blocks=1, attention_at=())
c = realuid.TeacherConfig(updates=1, batch=8)
(W / "imgs").mkdir()
(W / "imgs/a.png").write_bytes(png())
seen("load_dataset(Path)", lambda: realuid.load_dataset(W / "imgs"))
seen("labels out of range", lambda: realuid.sample(G, 1, labels=torch.tensor([10])))
seen("labels short", lambda: realuid.sample(G, 4, labels=torch.tensor([1, 2])))
seen(
    "data labels beyond classes",
    lambda: realuid.train(
        Dataset(img, torch.arange(64) % 10 + 5, "x", tuple("0123456789")), W / "t1", network=n, config=c
    ),
)
seen(
    "data labels short",
    lambda: realuid.train(Dataset(img, torch.arange(5), "x", tuple("01234")), W / "t2", network=n, config=c),
)
seen(
    "evaluate on other shapes",
    lambda: realuid.evaluate(G, Dataset(torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8))),
)
verdict(bool(bad), f"{len(bad)} of 6: {bad}")
