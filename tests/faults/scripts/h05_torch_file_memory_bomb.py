"""A 14 KB torchcfm .pt whose tensors have stride 0 takes gigabytes (asks for 16 GB at width 2^15)."""

import os

import torch
from common import cli, verdict


def adm(c, t):
    sd = {}

    def lin(n, i, o):
        sd[n + ".weight"] = t(o, i)
        sd[n + ".bias"] = t(o)

    def conv(n, i, o, k):
        sd[n + ".weight"] = t(o, i, k, k)
        sd[n + ".bias"] = t(o)

    def norm(n, i):
        sd[n + ".weight"] = t(i)
        sd[n + ".bias"] = t(i)

    def res(n, i, o):
        norm(n + ".in_layers.0", i)
        conv(n + ".in_layers.2", i, o, 3)
        lin(n + ".emb_layers.1", 4 * c, o)
        norm(n + ".out_layers.0", o)
        conv(n + ".out_layers.3", o, o, 3)
        if i != o:
            conv(n + ".skip_connection", i, o, 1)

    def att(n, i):
        norm(n + ".norm", i)
        sd[n + ".qkv.weight"] = t(3 * i, i, 1)
        sd[n + ".qkv.bias"] = t(3 * i)
        sd[n + ".proj_out.weight"] = t(i, i, 1)
        sd[n + ".proj_out.bias"] = t(i)

    lin("time_embed.0", c, 4 * c)
    lin("time_embed.2", 4 * c, 4 * c)
    conv("input_blocks.0.0", 1, c, 3)
    res("input_blocks.1.0", c, c)
    sd["input_blocks.2.0.op.weight"] = t(c, c, 3, 3)
    sd["input_blocks.2.0.op.bias"] = t(c)
    res("input_blocks.3.0", c, c)
    att("input_blocks.3.1", c)
    res("middle_block.0", c, c)
    att("middle_block.1", c)
    res("middle_block.2", c, c)
    res("output_blocks.0.0", 2 * c, c)
    att("output_blocks.0.1", c)
    res("output_blocks.1.0", 2 * c, c)
    att("output_blocks.1.1", c)
    conv("output_blocks.1.2.conv", c, c, 3)
    res("output_blocks.2.0", 2 * c, c)
    res("output_blocks.3.0", 2 * c, c)
    norm("out.0", c)
    conv("out.2", c, 1, 3)
    return sd


z = torch.zeros(1)
stride0 = lambda *s: z.as_strided(s, (0,) * len(s))

torch.save({"net_model": adm(1024, stride0)}, "bomb.pt")
print(os.path.getsize("bomb.pt"), "bytes")
rc, out, mb = cli("info", "bomb.pt", gb=7)
torch.save({"net_model": adm(2**15, stride0)}, "big.pt")
rc2, out2, _ = cli("info", "big.pt", gb=7)
verdict(mb > 1500 or "you tried to allocate" in out2, f"peak {mb} MB for a 14 KB file; width 2^15: rc {rc2}")
