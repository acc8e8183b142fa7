"""Scores from the objects that a caption names: are they there, and are they called what experts call them?"""
