"""How long things take, next to the least they could take: ``python -m benchmarks [NAME ...]``.

Absolute times say little about another machine or another minute, so every figure is one of several that were
measured in turns in one run, and what is compared is their ratio. Nothing here is a test: a bar that is not met is
printed as such and the exit status stays 0.
"""
