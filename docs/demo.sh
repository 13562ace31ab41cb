#!/bin/sh
# What `make demo` runs: a merged model from checkpoint to picture. Needs samclip-edge[export] on the path.
set -eux
photo=samclip_edge/data/photos/chelsea.jpg
samclip-edge init --preset tiny --seed 3 -o demo/tiny.safetensors
samclip-edge export --model demo/tiny.safetensors --target onnx --precision fp32 -o demo/bundle
samclip-edge verify demo/bundle
samclip-edge segment $photo --point 225,150 --bundle demo/bundle -o demo/click.png
samclip-edge segment $photo --text cat --text blanket --bundle demo/bundle -o demo/find.png
samclip-edge classify $photo --label cat --label dog --label "cup of coffee" --bundle demo/bundle -o demo/names.png
