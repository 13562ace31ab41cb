#include "photo.hpp"

#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cerrno>
#include <csetjmp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace {

using Bytes = std::vector<uint8_t>;
constexpr int64_t kMostPixels = 178956970;

// EXIF's orientation, 1 to 8, in a block that begins with the header of TIFF; 1 where there is none.
int exif_orientation(const uint8_t* tiff, size_t length) {
    const auto number = [&](size_t at, size_t bytes) {
        size_t value = 0;
        for (size_t k = 0; k < bytes; ++k) value = value << 8 | tiff[at + (tiff[0] == 'M' ? k : bytes - 1 - k)];
        return value;
    };
    if (length < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M') || number(2, 2) != 42) return 1;
    const size_t table = number(4, 4);
    if (table > length - 2) return 1;
    for (size_t at = table + 2, left = number(table, 2); left > 0 && at + 12 <= length; --left, at += 12) {
        const size_t kind = number(at + 2, 2);  // 3: of two bytes; 4: of four
        if (number(at, 2) != 0x0112 || (kind != 3 && kind != 4)) continue;
        const size_t value = number(at + 8, kind == 3 ? 2 : 4);
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

// A decoder of one file. `header` and `rows` return false where the file is damaged, and `fault` has why. Between a
// setjmp and the longjmp back to it, no object may be made that has a destructor: so memory is taken outside of both.
struct Decoder {
    char fault[JMSG_LENGTH_MAX] = "";
    std::jmp_buf jump;
};

class Jpeg : Decoder {
public:
    using Decoder::fault;

    Jpeg() {
        library_.err = jpeg_std_error(&errors_);
        library_.client_data = static_cast<Decoder*>(this);
        errors_.error_exit = [](j_common_ptr library) {
            Decoder& self = *static_cast<Decoder*>(library->client_data);
            library->err->format_message(library, self.fault);
            std::longjmp(self.jump, 1);
        };
        errors_.emit_message = [](j_common_ptr, int) {};  // what is damaged a little is shown as it is, as Pillow does
    }
    ~Jpeg() { jpeg_destroy_decompress(&library_); }

    bool header(const Bytes& file, Photo& photo) {
        if (setjmp(jump)) return false;
        jpeg_create_decompress(&library_);
        jpeg_mem_src(&library_, file.data(), static_cast<unsigned long>(file.size()));
        jpeg_save_markers(&library_, JPEG_APP0 + 1, 0xFFFF);
        jpeg_read_header(&library_, TRUE);
        const int channels = library_.num_components;
        library_.out_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 4 ? JCS_CMYK : JCS_RGB;
        photo.format = channels == 1 ? SAMCLIP_GREY : SAMCLIP_RGB;
        photo.width = static_cast<int>(library_.image_width), photo.height = static_cast<int>(library_.image_height);
        for (jpeg_saved_marker_ptr each = library_.marker_list; each != nullptr; each = each->next) {
            if (each->data_length < 6 || std::memcmp(each->data, "Exif\0\0", 6) != 0) continue;
            photo.orientation = exif_orientation(each->data + 6, each->data_length - 6);
            break;
        }
        return true;
    }

    bool rows(Photo& photo) {
        const size_t stride = photo.pixels.size() / static_cast<size_t>(photo.height);
        inks_.resize(4 * static_cast<size_t>(photo.width));
        if (setjmp(jump)) return false;
        jpeg_start_decompress(&library_);
        while (library_.output_scanline < library_.output_height) {
            uint8_t* out = photo.pixels.data() + library_.output_scanline * stride;
            uint8_t* row = library_.out_color_space == JCS_CMYK ? inks_.data() : out;
            jpeg_read_scanlines(&library_, &row, 1);
            if (row != out) without_black(out);
        }
        return true;
    }

private:
    // A row of Adobe's CMYK, where 255 is no ink, to RGB, as Pillow rounds it.
    void without_black(uint8_t* out) const {
        for (size_t at = 0; at + 3 < inks_.size(); at += 4) {
            const int white = inks_[at + 3];
            for (size_t c = 0; c < 3; ++c) {
                const int product = (255 - inks_[at + c]) * white + 128;
                *out++ = static_cast<uint8_t>(std::max(white - ((product >> 8) + product) / 256, 0));
            }
        }
    }

    jpeg_decompress_struct library_ = {};
    jpeg_error_mgr errors_ = {};
    Bytes inks_;
};

class Png : Decoder {
public:
    using Decoder::fault;

    Png()
        : library_(png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<Decoder*>(this), fail,
                                          [](png_structp, png_const_charp) {})) {
        if (library_ != nullptr) info_ = png_create_info_struct(library_);
        if (info_ == nullptr) throw std::bad_alloc();
    }
    ~Png() { png_destroy_read_struct(&library_, &info_, nullptr); }

    bool header(const Bytes& file, Photo& photo) {
        if (setjmp(jump)) return false;
        at_ = file.data(), left_ = file.size();
        png_set_read_fn(library_, this, [](png_structp library, png_bytep out, size_t count) {
            Png& self = *static_cast<Png*>(png_get_io_ptr(library));
            if (count > self.left_) png_error(library, "the file breaks off");
            std::memcpy(out, self.at_, count);
            self.at_ += count, self.left_ -= count;
        });
        png_read_info(library_, info_);
        photo.width = static_cast<int>(png_get_image_width(library_, info_));
        photo.height = static_cast<int>(png_get_image_height(library_, info_));
        const int colour = png_get_color_type(library_, info_);
        photo.format = (colour & PNG_COLOR_MASK_COLOR) != 0 ? SAMCLIP_RGB : SAMCLIP_GREY;
        png_bytep exif;
        png_uint_32 length;
        if (png_get_eXIf_1(library_, info_, &length, &exif) != 0) photo.orientation = exif_orientation(exif, length);
        // Eight bits a sample, the upper ones of sixteen; no palette and no transparency.
        if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(library_);
        if (colour == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(library_);
        png_set_strip_16(library_);
        png_set_strip_alpha(library_);
        passes_ = png_set_interlace_handling(library_);
        png_read_update_info(library_, info_);
        return true;
    }

    bool rows(Photo& photo) {
        const size_t stride = photo.pixels.size() / static_cast<size_t>(photo.height);
        if (setjmp(jump)) return false;
        if (png_get_rowbytes(library_, info_) != stride) png_error(library_, "its rows have another length");
        for (int pass = 0; pass < passes_; ++pass) {
            for (size_t y = 0; y < static_cast<size_t>(photo.height); ++y) {
                png_read_row(library_, photo.pixels.data() + y * stride, nullptr);
            }
        }
        return true;
    }

private:
    [[noreturn]] static void fail(png_structp library, png_const_charp what) {
        Decoder& self = *static_cast<Decoder*>(png_get_error_ptr(library));
        std::strncpy(self.fault, what, sizeof self.fault - 1);
        std::longjmp(self.jump, 1);
    }

    png_structp library_;
    png_infop info_ = nullptr;
    const uint8_t* at_ = nullptr;
    size_t left_ = 0;
    int passes_ = 0;
};

template <typename Format>
Photo decoded(const Bytes& file, const std::string& name) {
    Format decoder;
    Photo photo;
    bool whole = decoder.header(file, photo);
    if (whole) {
        const int64_t pixels = int64_t{photo.width} * photo.height;
        if (pixels > kMostPixels) {
            throw BadInput(name + ": is " + std::to_string(photo.width) + "x" + std::to_string(photo.height) + ", " +
                           std::to_string(pixels) + " pixels; make it smaller, to " + std::to_string(kMostPixels));
        }
        photo.pixels.resize(static_cast<size_t>(pixels) * (photo.format == SAMCLIP_GREY ? 1 : 3));
        whole = decoder.rows(photo);
    }
    if (!whole) throw BadInput(name + ": the photo is truncated or damaged (" + decoder.fault + "); fetch it again");
    return photo;
}

}  // namespace

samclip_edge::Image Photo::image() const {
    static const int turns[] = {0, 0, 180, 180, 90, 90, 270, 270};
    static const int mirrors[] = {0, 1, 0, 1, 1, 0, 1, 0};
    samclip_edge::Image made(format, pixels.data(), width, height);
    made.turn = turns[orientation - 1], made.mirror = mirrors[orientation - 1];
    return made;
}

Photo decode_photo(const Bytes& file, const std::string& name) {
    static const uint8_t jpeg[] = {0xFF, 0xD8, 0xFF}, png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    const auto begins = [&](const auto& mark) {
        return file.size() >= sizeof mark && std::equal(std::begin(mark), std::end(mark), file.begin());
    };
    if (file.empty()) throw BadInput(name + ": the file is empty; pass a photo");
    if (begins(jpeg)) return decoded<Jpeg>(file, name);
    if (begins(png)) return decoded<Png>(file, name);
    throw BadInput(name + ": not a JPEG or PNG photo; convert it to one");
}

Photo read_photo(const std::string& path) {
    std::error_code none;
    if (std::filesystem::is_directory(path, none)) throw BadInput(path + ": is a folder; pass a photo in it");
    std::ifstream stream(path, std::ios::binary);
    const std::string fault = std::strerror(errno);
    if (!stream && !std::filesystem::exists(path, none)) throw BadInput(path + ": no such photo; check the path");
    if (!stream) throw BadInput(path + ": cannot be read (" + fault + "); check its name and who may read it");
    return decode_photo(Bytes(std::istreambuf_iterator<char>(stream), {}), path);
}
