"""The demo: the whole loop on real flights, with nothing scripted to fire.

A client process replays the flights in their own time; everything else is the product as anyone starts it.
"""
