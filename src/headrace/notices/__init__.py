"""Telling people what they have to know, by mail and webhook.

A notice is written down first and delivered by a worker, again and again until it arrived or a day is over, so that a
mail server that is away loses nothing and whatever is told waits for nobody.
"""
