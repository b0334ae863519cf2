"""Catalogues: a manifest of products and photos, worked off to finished, checked pictures.

A newcomer reads in this order: ``lines`` and ``items`` (what is asked for), ``styles`` (how it shall
look), ``work`` (one product, from photo to pictures), ``gate`` (which pictures are good), ``ledger``,
``delivery`` and ``settling`` (nothing lost, nothing twice), ``runner`` (many items at a time), ``reports``
and ``sheet`` (what the operator sees).
"""
