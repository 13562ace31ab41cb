"""What a photo is asked: one file a task, each a function over `Encoded`, whichever model encoded it.

`prompts` checks what a person points at; `segment` answers it; `classify` names the photo; `find` goes from words to
masks; `everything` finds every mask and names it.
"""
