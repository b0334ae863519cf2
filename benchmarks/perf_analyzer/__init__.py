"""Recorded inputs and command lines for NVIDIA's perf_analyzer: ``python -m benchmarks.perf_analyzer``.

See the README beside this file.
"""
