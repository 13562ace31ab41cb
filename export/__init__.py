"""From a checkpoint to a bundle: the five graphs, one file a target, and the parity that was measured."""
