"""Datasets as they were: immutable snapshots with a digest over every row and column, and the inferred schema.

A model is only as reproducible as its data, and most platforms hash a sample or trust a path. Here a
changed cell anywhere is a different snapshot, and identical data is one snapshot however often it is loaded.
"""
