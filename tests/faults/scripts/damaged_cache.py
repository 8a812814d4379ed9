"""A damaged file of the cache (a cut-off classifier) stops every later `evaluate`, `train` and `distill` that measures
with
"unexpected error: SafetensorError", which does not name the file; damaged statistics beside it are computed anew.
Right: the classifier is trained anew, too. Exit code 1 while the fault is there.
"""

import glob
import os
import sys

import common  # noqa: F401  # an own folder and cache

from realuid.data import load_dataset
from realuid.recipes import EvaluateConfig
from realuid.recipes.measure import make_evaluator

data, bad = load_dataset("digits"), 0
make_evaluator(data, EvaluateConfig())
for kind in ("statistics", "classifier"):
    for file in glob.glob(os.path.join(os.environ["REALUID_CACHE"], f"{kind}*.safetensors")):
        whole = open(file, "rb").read()
        open(file, "wb").write(whole[:500])
        try:
            make_evaluator(data, EvaluateConfig())
            print(f"damaged {kind}: computed anew")
        except Exception as error:
            bad = 1
            print(f"damaged {kind}: {type(error).__name__}: {error}")
        open(file, "wb").write(whole)
sys.exit(bad)
