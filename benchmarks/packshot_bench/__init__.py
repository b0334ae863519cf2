"""Benchmarks: named scenarios, comparators in the same run, results that two runs can be held against.

A newcomer reads in this order: ``scenarios`` (what is measured), ``subjects`` (what of: packshot, and
what one would use instead), ``results`` (the document, under ``schema.json``), ``compare`` and ``plots``.
"""
