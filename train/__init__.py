"""Training the merged model: data, losses, and the recipe that ties them (Sec. 3, Appendix A and D)."""
