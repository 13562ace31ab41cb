"""The photo: reading it, resizing it, the frame between it and the model's square, masks over it, pictures of answers.

Arrays in, arrays out: nothing here runs a graph, knows a bundle or reads a word.
"""
