#include "text/names.hpp"

#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "error.hpp"
#include "json.hpp"
#include "python_repr.hpp"
#include "text/clean.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

constexpr const char* kMend = "; export the bundle again";

std::string counted(const char* what, size_t index, size_t count) {
    return std::string(what) + " " + std::to_string(index + 1) + " of " + std::to_string(count);
}

// Python's `repr` of what its reader makes of a value.
std::string repr_of(const Json& value) {
    if (value.is_string()) return python_repr(value.get_ref<const std::string&>());
    if (value.is_null()) return "None";
    if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
    if (!value.is_structured()) return value.dump();
    std::vector<std::string> parts;
    for (const auto& [key, each] : value.items()) {
        parts.push_back((value.is_object() ? python_repr(key) + ": " : "") + repr_of(each));
    }
    return value.is_array() ? python_list(parts) : "{" + joined(parts) + "}";
}

std::string fault_of_name(const Json& value) {
    return value.is_string() ? fault_of(value.get_ref<const std::string&>()) : "is no text";
}

std::string fault_of_template(const Json& value) {
    const auto* text = value.get_ptr<const std::string*>();
    return text && text->find("{}") != text->npos ? fault_of(*text) : "has no {} where the name goes";
}

// The texts of a list, of which none has a fault.
Names checked(const Json& list, const char* what, std::string (*fault_of_item)(const Json&), const std::string& path) {
    for (size_t i = 0; i < list.size(); ++i) {
        if (const std::string fault = fault_of_item(list[i]); !fault.empty()) {
            throw InputError(path + ": " + counted(what, i, list.size()) + ", " + beginning(repr_of(list[i]), kShown) +
                             ", " + fault + kMend);
        }
    }
    return list.get<Names>();
}

// The text of a file in UTF-8, with or without a byte-order mark. Throws std::invalid_argument.
std::string_view read_text(std::string_view bytes) {
    const std::string_view mark = bytes.substr(0, 2);
    if (mark == "\xFF\xFE" || mark == "\xFE\xFF") throw std::invalid_argument("it is UTF-16; save it as UTF-8");
    if (bytes.substr(0, 3) == "\xEF\xBB\xBF") bytes.remove_prefix(3);
    if (const std::string fault = utf8_fault(bytes); !fault.empty()) throw std::invalid_argument(fault);
    return bytes;
}

// Whether Python's `Path.suffix` is ".json".
bool is_json(const std::string& path) {
    constexpr std::string_view kSuffix = ".json";
    const size_t name = path.rfind('/') + 1;  // where it begins; 0 where there is no slash
    return path.size() > name + kSuffix.size() &&
           path.compare(path.size() - kSuffix.size(), kSuffix.size(), kSuffix) == 0;
}

bool ends_line(char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

// Python's `splitlines`, of which each is stripped, without the empty ones.
Names lines_of(std::string_view text) {
    Names lines;
    std::u32string line;
    for (const char32_t c : decoded(text) + U'\n') {
        if (!ends_line(c)) {
            line += c;
            continue;
        }
        if (std::string left = stripped(encoded(line)); !left.empty()) lines.push_back(std::move(left));
        line.clear();
    }
    return lines;
}

}  // namespace

std::string fault_of(std::string_view text) {
    if (text.find('\0') != std::string_view::npos) return "holds a NUL character";
    return is_utf8(text) ? "" : "is not UTF-8";
}

Names check_labels(const samclip_names& labels, const std::string& what) {
    Names names;
    for (size_t i = 0; i < labels.count; ++i) {
        const char* label = labels.names ? labels.names[i] : nullptr;
        if (!label) {
            throw InputError(what + ": " + counted("name", i, labels.count) + ", None, is no text; pass a string");
        }
        names.push_back(stripped(label));
    }
    if (names.empty()) throw InputError(what + ": no name; give at least one");
    Names once;
    std::unordered_set<std::string> seen;
    for (size_t i = 0; i < names.size(); ++i) {
        const std::string place = what + ": " + counted("name", i, names.size());
        if (const std::string fault = fault_of(names[i]); !fault.empty()) {
            throw InputError(place + ", " + shown(names[i]) + ", " + fault + "; give letters in UTF-8");
        }
        std::string key = clean(names[i]);
        if (key.empty()) throw InputError(place + " is empty; give it a word");
        if (seen.insert(std::move(key)).second) once.push_back(std::move(names[i]));
    }
    return once;
}

Names check_background(const samclip_names* background) {
    if (!background) return {"background"};
    return background->count ? check_labels(*background, "background") : Names{};
}

Names read_names(std::string_view bytes, const std::string& path) try {
    const Json list = parse_json(read_text(bytes));
    if (!list.is_array()) throw InputError(path + ": no list of names" + kMend);
    return checked(list, "name", fault_of_name, path);
} catch (const std::invalid_argument& error) {
    throw InputError(path + ": no list of names (" + one_line(error.what()) + ")" + kMend);
}

Names read_templates(std::string_view bytes, const std::string& path) try {
    const std::string_view text = read_text(bytes);
    const std::string left = stripped(text);
    const bool listed = is_json(path) || (!left.empty() && left.front() == '[');
    const Json list = listed ? parse_json(text) : Json(lines_of(text));
    if (!list.is_array() || list.empty()) throw InputError(path + ": holds no template" + kMend);
    return checked(list, "template", fault_of_template, path);
} catch (const std::invalid_argument& error) {
    throw InputError(path + ": no list of templates (" + one_line(error.what()) + ")" + kMend);
}

}  // namespace samclip
