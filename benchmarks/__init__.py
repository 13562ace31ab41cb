"""Measures what a merged bundle costs, against SAM and CLIP side by side: time, memory, size and multiply-adds."""
