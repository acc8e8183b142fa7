"""Arenas: captions of several systems are compared two by two, and ratings come out."""
