// Any bytes are a photo, or are refused: nothing else.
#include "../photo_files/photo.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        const Photo photo = decode_photo({data, data + size}, "photo");
        const size_t channels = photo.format == SAMCLIP_GREY ? 1 : 3;
        if (photo.pixels.size() != static_cast<size_t>(photo.width) * static_cast<size_t>(photo.height) * channels)
            __builtin_trap();
        if (photo.orientation < 1 || photo.orientation > 8) __builtin_trap();
    } catch (const BadInput&) {
    }
    return 0;
}
