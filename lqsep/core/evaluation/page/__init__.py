"""The report of an evaluation as one HTML file.

``document`` says what is on it, ``charts`` where the marks of box plots lie, ``sounds`` gives what
is heard; ``templates`` hold how all of it looks, and ``environment`` fills them in.
"""
