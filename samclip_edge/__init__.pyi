from samclip_edge.errors import InputError as InputError
from samclip_edge.library.library import Library as Library
from samclip_edge.photo.masks import Mask as Mask
from samclip_edge.pipeline import SamClip as SamClip
from samclip_edge.scene import Scene as Scene

__version__: str
