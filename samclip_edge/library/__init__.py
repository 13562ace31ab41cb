"""A library of photos: an index that is searched by words, by a picture, and by the things in photos.

`library.py` is what apps import; the file itself is described in docs/library.md.
"""

from samclip_edge.library.adding import Added
from samclip_edge.library.library import Library
from samclip_edge.library.matches import Found, Match

__all__ = ["Added", "Found", "Library", "Match"]
