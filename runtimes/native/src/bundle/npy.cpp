// NumPy's file format, as far as `read_features` of `samclip_edge/text/words.py` takes it.
// Its header is a dict of Python.
#include <cstdint>
#include <cstring>
#include <set>
#include <stdexcept>
#include <string>

#include "bundle/files.hpp"

namespace samclip {
namespace {

constexpr size_t kLongestHeader = 10'000;  // bytes, NumPy's own limit

[[noreturn]] void refuse(const std::string& reason) { throw std::runtime_error(reason); }

// The text of a header, read from left to right.
class Header {
public:
    explicit Header(std::string_view text) : text_(text) {}

    // Whether this character stands next, which is then passed.
    bool take(char wanted) {
        skip_space();
        if (text_.empty() || text_[0] != wanted) return false;
        text_.remove_prefix(1);
        return true;
    }
    void expect(char wanted) {
        if (!take(wanted)) refuse("its header is no dict of descr, fortran_order and shape");
    }
    std::string_view quoted() {
        const char quote = take('"') ? '"' : '\'';
        if (quote == '\'') expect('\'');
        const size_t end = text_.find(quote);
        if (end == text_.npos) refuse("its header ends within a text");
        return pass(end + 1).substr(0, end);
    }
    std::string_view word() {
        skip_space();
        size_t end = 0;
        while (end < text_.size() && is_letter(text_[end])) ++end;
        return pass(end);
    }
    size_t number() {
        skip_space();
        size_t end = 0, found = 0;
        for (; end < text_.size() && text_[end] >= '0' && text_[end] <= '9'; ++end) {
            found = 10 * found + static_cast<size_t>(text_[end] - '0');
            if (found > INT32_MAX) refuse("its shape is too large");
        }
        if (end == 0 || (end > 1 && text_[0] == '0')) refuse("its shape is no tuple of numbers");
        pass(end);
        return found;
    }
    bool at_end() {
        skip_space();
        return text_.empty();
    }

private:
    static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
    void skip_space() {
        const size_t start = text_.find_first_not_of(" \t\n\r\f");
        text_.remove_prefix(start == text_.npos ? text_.size() : start);
    }
    std::string_view pass(size_t count) {
        const std::string_view passed = text_.substr(0, count);
        text_.remove_prefix(count);
        return passed;
    }

    std::string_view text_;
};

void read_shape(Header& header, size_t& rows, size_t& columns) {
    header.expect('(');
    rows = header.number();
    header.expect(',');
    columns = header.number();
    header.take(',');
    if (!header.take(')')) refuse("its shape is not (rows, columns)");
}

void read_header(Header header, size_t& rows, size_t& columns) {
    std::set<std::string_view> keys;
    header.expect('{');
    while (!header.take('}')) {
        const std::string_view key = header.quoted();
        header.expect(':');
        if (!keys.insert(key).second) refuse("its header has a key twice");
        if (key == "descr") {
            if (header.quoted() != "<f4") refuse("its numbers are not float32, little-endian");
        } else if (key == "fortran_order") {
            if (header.word() != "False") refuse("its numbers are not in C order");
        } else if (key == "shape") {
            read_shape(header, rows, columns);
        } else {
            refuse("its header has a key that NumPy does not know");
        }
        if (!header.take(',')) {
            header.expect('}');
            break;
        }
    }
    if (keys.size() != 3 || !header.at_end()) refuse("its header is no dict of descr, fortran_order and shape");
}

}  // namespace

std::vector<float> read_npy(std::string_view bytes, size_t& rows, size_t& columns) {
    constexpr std::string_view kMagic = "\x93NUMPY";
    if (bytes.substr(0, kMagic.size()) != kMagic || bytes.size() < 10) refuse("it is no .npy file");
    const auto byte = [&bytes](size_t at) { return static_cast<size_t>(static_cast<uint8_t>(bytes[at])); };
    const size_t major = byte(6), minor = byte(7);
    if (major < 1 || major > 3 || minor != 0) refuse("it is of a version of .npy that NumPy does not know");
    const size_t begin = major == 1 ? 10 : 12;
    if (bytes.size() < begin) refuse("its header is cut short");
    size_t length = byte(8) | byte(9) << 8;
    if (major > 1) length |= byte(10) << 16 | byte(11) << 24;
    if (length > kLongestHeader || length > bytes.size() - begin) refuse("its header is too long or cut short");
    read_header(Header(bytes.substr(begin, length)), rows, columns);

    const std::string_view data = bytes.substr(begin + length);
    const uint64_t count = uint64_t{rows} * columns;  // of two numbers below 2^31
    if (count > data.size() / sizeof(float)) refuse("it is cut short");
    std::vector<float> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; ++k) bits |= uint32_t{static_cast<uint8_t>(data[4 * i + k])} << (8 * k);
        std::memcpy(&values[i], &bits, sizeof bits);
    }
    return values;
}

}  // namespace samclip
