"""The merged model in torch: its modules, and how checkpoints are read. Nothing here trains or exports."""
