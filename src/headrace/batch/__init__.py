"""Jobs: a file or a table of rows, scored later and whole, while somebody watches or is told when it is done.

A source is divided into blocks whose bounds depend on its bytes alone, and blocks are scored in chunks. What a chunk
gives, its answers and its rejects, is one part, which is there whole or not at all; the result is made of the parts in
their order. So a job that was killed goes on with the chunks that have no part yet, and its result is the same to the
byte however often that happened, and whatever engine, chunk size or number of threads worked on it.
"""
