"""The merged model in torch: the modules and how their checkpoints are read; nothing of training or exporting."""
