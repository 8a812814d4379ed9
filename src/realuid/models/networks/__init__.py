"""Networks with the call `network(x, time, condition)`, and their conditions."""
