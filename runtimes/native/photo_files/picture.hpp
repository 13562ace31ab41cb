// The picture of an answer.
#pragma once

#include "photo.hpp"

// Throw BadInput unless a PNG can be written to `path`, which is not the photo itself; for before the work.
void check_picture(const std::string& path, const std::string& photo);

// Write a PNG of the upright photo with masks over it, tinted and outlined, the biggest lowest. Throws
// BadInput where it cannot be written.
void write_picture(const std::string& path, const Photo& photo, const samclip_edge::Masks& masks);
