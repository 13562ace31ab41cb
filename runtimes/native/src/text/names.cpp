#include "text/names.hpp"

#include <unordered_set>
#include <utility>

#include "error.hpp"
#include "text/clean.hpp"
#include "text/json.hpp"
#include "text/unicode.hpp"

namespace samclip {
namespace {

constexpr size_t kReason = 200;  // characters of another error's message: `one_line` of Python
constexpr const char* kMend = "; export the bundle again";

std::string counted(const char* what, size_t index, size_t count) {
    return std::string(what) + " " + std::to_string(index + 1) + " of " + std::to_string(count);
}

std::string fault_of_name(const JsonValue& value) {
    return value.is(JsonValue::Kind::string) ? fault_of(value.text) : "is no text";
}

std::string fault_of_template(const JsonValue& value) {
    const bool has_place = value.is(JsonValue::Kind::string) && value.text.find("{}") != std::string_view::npos;
    return has_place ? fault_of(value.text) : "has no {} where the name goes";
}

// The texts of a list, of which none has a fault.
Names checked(const std::vector<JsonValue>& items, const char* what, std::string (*fault_of_item)(const JsonValue&),
              const std::string& path) {
    Names names;
    for (size_t i = 0; i < items.size(); ++i) {
        if (const std::string fault = fault_of_item(items[i]); !fault.empty()) {
            throw InputError(path + ": " + counted(what, i, items.size()) + ", " + shown(items[i]) + ", " + fault +
                             kMend);
        }
        names.emplace_back(items[i].text);
    }
    return names;
}

// The text of a bundle's file. Throws JsonError.
std::string_view read_text(std::string_view bytes) {
    const std::string_view mark = bytes.substr(0, 2);
    if (mark == "\xFF\xFE" || mark == "\xFE\xFF") throw JsonError("it is UTF-16; save it as UTF-8");
    return utf8_text(bytes);
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

// Templates of a file with one a line.
Names templates_of_lines(std::string_view text, const std::string& path) {
    const Names lines = lines_of(text);
    std::vector<JsonValue> items;
    for (const std::string& line : lines) items.push_back({JsonValue::Kind::string, line, {}});
    return checked(items, "template", fault_of_template, path);
}

Names templates_of_json(std::string_view text, const std::string& path) {
    const JsonText json(utf8_text(text));  // which may have a byte-order mark of its own behind that of the file
    const bool is_list = json.value().is(JsonValue::Kind::array);
    return is_list ? checked(json.value().items, "template", fault_of_template, path) : Names{};
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
    const JsonText json(utf8_text(read_text(bytes)));  // a byte-order mark may stand behind that of the file
    if (!json.value().is(JsonValue::Kind::array)) throw InputError(path + ": no list of names" + kMend);
    return checked(json.value().items, "name", fault_of_name, path);
} catch (const JsonError& error) {
    throw InputError(path + ": no list of names (" + beginning(error.what(), kReason) + ")" + kMend);
}

Names read_templates(std::string_view bytes, const std::string& path) try {
    const std::string_view text = read_text(bytes);
    const std::string left = stripped(text);
    const bool listed = is_json(path) || (!left.empty() && left.front() == '[');
    Names templates = listed ? templates_of_json(text, path) : templates_of_lines(text, path);
    if (templates.empty()) throw InputError(path + ": holds no template" + kMend);
    return templates;
} catch (const JsonError& error) {
    throw InputError(path + ": no list of templates (" + beginning(error.what(), kReason) + ")" + kMend);
}

}  // namespace samclip
