"""Networks under one call, `network(x, time, condition)`, and what they may be conditioned on."""
