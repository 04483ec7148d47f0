"""Converters, one file a family: what a fitted step computes, said again in double-precision operators.

A new file is found by itself and registers its converters by being imported. Each repeats the library's own order of
operations, so that trees agree to the bit and the rest to the last few.
"""
