#!/bin/sh
# What `make demo` runs: the model that ships, from checkpoint to picture. Needs samclip-edge[export] on the path.
set -eux
photo=docs/shapes.jpg
samclip-edge export --model tiny --target onnx --precision fp32 -o demo/bundle
samclip-edge verify demo/bundle
samclip-edge classify $photo --label "blue hexagon" --label "green circle" --label "a heart and an arrow" -o demo/names.png
samclip-edge segment $photo --point 362,380 --bundle demo/bundle -o demo/click.png
samclip-edge segment $photo --text "blue hexagon" --text "green arrow" --text "orange heart" -o demo/find.png
samclip-edge segment $photo --everything --label "blue hexagon" --label "green arrow" --label "orange heart" \
    --label background -o demo/everything.png
