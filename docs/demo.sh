#!/bin/sh
# What `make demo` runs: the model that ships, from checkpoint to pictures. Needs samclip-edge[export] on the path.
set -eux
photos=samclip_edge/data/photos
samclip-edge export --model photo --target onnx --precision fp32 -o demo/bundle
samclip-edge verify demo/bundle
samclip-edge classify $photos/chelsea.jpg --label cat --label dog --label cup --label truck -o demo/names.png
samclip-edge segment $photos/coffee.jpg --point 300,180 --bundle demo/bundle -o demo/click.png
samclip-edge segment docs/temple.jpg --text palace --text tree --text sky --text elephant -o demo/find.png  # no elephant is there
samclip-edge segment $photos/coffee.jpg --everything --grid 12 --min-iou 0.6 --min-stability 0.7 \
    --label cup --label table --label dog -o demo/everything.png
samclip-edge index $photos docs/temple.jpg -o demo/library.db --things
samclip-edge search demo/library.db cup --things -o demo/search.png
set +x
echo
echo 'The same model in a page, in your browser (the first line needs Node.js 20):'
echo '    make web'
echo '    .venv/bin/samclip-edge web --serve'
