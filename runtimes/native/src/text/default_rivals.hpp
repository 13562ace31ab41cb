// The rivals of a bundle without a calibration: COCO's 80 names, as `samclip_edge/data/rivals.json`.
#pragma once

#include "text/names.hpp"

namespace samclip {

const Names& default_rivals();

}  // namespace samclip
