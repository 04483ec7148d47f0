"""The record that shows tampering: who did what, when, to which thing, chained by hash.

Each entry carries the hash of the one before it and a signature over its own hash; the newest head
(number, hash, signature) is kept in a file beside the database. An edit breaks a hash, a forged entry
lacks a signature, a reordering breaks the chain, and a removal at the end falls short of the head.
An entry is written in the transaction of the change that it records, so neither exists alone.
"""
