"""Engines that run a bundle's graphs, one file each, behind the protocol in `base`."""
