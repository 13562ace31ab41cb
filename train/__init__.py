"""Trains the merged model: the data, the losses, and the recipe that names both (Sec. 3, Appendix A and D)."""
