#!/bin/sh
# What `make demo` runs: the model that ships, from checkpoint to picture. Needs samclip-edge[export] on the path.
set -eux
photo=docs/shapes.jpg
samclip-edge init --preset tiny -o demo/untrained.safetensors  # what training starts from
samclip-edge export --model tiny --target onnx --precision fp32 -o demo/bundle
samclip-edge verify demo/bundle
samclip-edge classify $photo --label "a heart and a star" --label "a ring and a square" -o demo/names.png
samclip-edge segment $photo --point 180,321 --bundle demo/bundle -o demo/click.png
samclip-edge segment $photo --text "blue heart" --text "orange star" --text "red arrow" -o demo/find.png  # no red arrow is there
samclip-edge segment $photo --everything --grid 12 --min-iou 0.7 --min-stability 0.8 \
    --label "blue heart" --label "orange star" --label background -o demo/everything.png
