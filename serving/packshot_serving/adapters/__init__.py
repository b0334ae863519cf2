"""Triton's side of the Python models: each module is what one ``model.py`` of a repository loads.

Only this folder and ``backends/`` import ``triton_python_backend_utils``.
"""
