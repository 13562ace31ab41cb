// Photos from files: JPEG by libjpeg, PNG by libpng, both through their calls that report errors by longjmp.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include "samclip_edge.hpp"

// What a user can mend: the command says it in one line, and exits with 2.
class BadInput : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// A decoded photo, as it lies in its file; `image` says how it is brought upright.
struct Photo {
    int width = 0, height = 0;            // as it lies
    samclip_format format = SAMCLIP_RGB;  // or SAMCLIP_GREY
    int orientation = 1;                  // of EXIF, 1 to 8
    std::vector<uint8_t> pixels;

    // The picture with EXIF's turn and mirror (`_TURNS` of samclip_edge/photo/decode.py).
    samclip_edge::Image image() const;
};

// A photo's file, to the pixels that Python's `read_photo` has. name: the photo in messages. Throws BadInput for what
// is none, is damaged, or has more than 178,956,970 pixels. A JPEG that breaks off is decoded as far as it goes.
Photo decode_photo(const std::vector<uint8_t>& file, const std::string& name);

// The same of the file at a path. Throws BadInput also where it cannot be read.
Photo read_photo(const std::string& path);
