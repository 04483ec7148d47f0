"""The protocols that clients already speak. Each is a thin face of the same core: a body becomes rows of the schema,
and answers become a body; what happens between the two is the same for all, so the same row gets the same answer.
"""
