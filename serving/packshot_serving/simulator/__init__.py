"""What would this policy do on that machine at this load? The engine's planner in virtual time.

``python -m packshot_serving.simulator`` runs the committed scenarios against whole-request dynamic
batching and writes what it finds as JSON.
"""
