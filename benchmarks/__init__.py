"""What a bundle can do, measured: accuracy on tasks that need no download."""
