"""Catalogues: a manifest of products and photos, worked off to finished, checked pictures.

A newcomer reads in this order: ``manifest`` (what is asked for), ``styles`` (how it shall look),
``item`` (one product, from photo to pictures), ``gate`` (which pictures are good), ``ledger`` and
``delivery`` (nothing lost, nothing twice), ``runner`` (many items at a time), ``report`` and ``sheet``
(what the operator sees).
"""
