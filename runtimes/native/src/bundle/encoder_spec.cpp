#include "bundle/encoder_spec.hpp"

#include <numeric>

#include "python_repr.hpp"

namespace samclip {
namespace {

// As many counts above 0 as there are defaults.
std::vector<int64_t> counts(Record& spec, const char* key, std::vector<int64_t> otherwise) {
    if (const auto given = spec.given(key)) {
        const std::vector<Field> found = given->list_of(otherwise.size());
        for (size_t i = 0; i < found.size(); ++i) otherwise[i] = found[i].count();
    }
    return otherwise;
}

int64_t read_vit(Record& spec) {
    const int width = spec.required("width").count(), depth = spec.required("depth").count();
    const int heads = spec.required("heads").count();
    spec.count("window", 14);
    bool within = true;
    std::vector<std::string> shown;
    for (const Field& each : spec.required("global_layers").list()) {
        const int64_t layer = each.whole();
        within = within && layer >= 0 && layer < depth;
        shown.push_back(std::to_string(layer));
    }
    spec.number("mlp_ratio", 4);
    spec.count("grid", 64);
    spec.one_of("stem", {"patch", "convolutions"});
    spec.close();
    check_divides(spec, "width", width, heads);
    if (!within) {
        spec.wrong("global_layers " + python_tuple(shown) + " name a layer past depth " + std::to_string(depth));
    }
    return width;
}

int64_t read_tiny_vit(Record& spec) {
    const auto widths = counts(spec, "widths", {64, 128, 160, 320});
    counts(spec, "depths", {2, 2, 6, 2});
    const auto heads = counts(spec, "stage_heads", {4, 5, 10});
    counts(spec, "windows", {7, 14, 7});
    spec.number("mlp_ratio", 4);
    spec.count("grid", 32);
    spec.close();
    for (size_t i = 0; i < heads.size(); ++i) check_divides(spec, "width", widths[i + 1], heads[i]);
    if (widths[0] % 2) spec.wrong("width " + std::to_string(widths[0]) + " is not even");
    return widths.back();
}

void read_adaptor(const Field& field) {
    Record spec(field, "AdaptorSpec");
    spec.count("hidden", 2560);
    spec.whole("blocks", 3, 0);
    spec.required("out").count();
    spec.close();
}

int64_t read_radio(Record& spec) {
    const int trunk = spec.count("trunk", 768);
    spec.count("depth", 12);
    const int heads = spec.count("heads", 12);
    spec.number("mlp_ratio", 4);
    spec.count("grid", 128);
    const int prefix = spec.count("prefix", 8);
    const int64_t summary = spec.whole("summary", 0, 0);
    if (const auto sam = spec.given("sam")) read_adaptor(*sam);
    if (const auto mean = spec.nullable("mean")) check_colour(*mean, false);
    if (const auto deviation = spec.nullable("std")) check_colour(*deviation, true);
    spec.close();
    check_divides(spec, "trunk", trunk, heads);
    if (summary >= prefix) {
        spec.wrong("summary " + std::to_string(summary) + " is none of " + std::to_string(prefix) + " prefix tokens");
    }
    return 2 * int64_t{trunk};
}

int64_t read_efficientnet_lite(Record& spec) {
    spec.count("stem", 32);
    const auto widths = counts(spec, "widths", {16, 24, 40, 80, 112, 192, 320});
    counts(spec, "depths", {1, 2, 2, 3, 3, 4, 1});
    const auto lateral = counts(spec, "lateral", {80, 64});
    const int heads = spec.count("heads", 8);
    spec.number("mlp_ratio", 2);
    spec.count("grid", 24);
    spec.close();
    const int64_t width = widths[6] + widths[4] + std::accumulate(lateral.begin(), lateral.end(), int64_t{0});
    if (width % heads) {
        const std::string shared = " of the tokens is not a multiple of heads ";
        spec.wrong("width " + std::to_string(width) + shared + std::to_string(heads));
    }
    return width;
}

}  // namespace

int64_t read_encoder(const Field& field) {
    const std::vector<std::string> kinds = {"vit", "tiny_vit", "radio", "efficientnet_lite"};
    const char* const models[] = {"VitSpec", "TinyVitSpec", "RadioSpec", "EfficientNetLiteSpec"};
    const size_t kind = read_kind(field, kinds, "_kind", "vit");
    Record spec(field.under(kinds[kind]), models[kind]);
    spec.given("kind");
    switch (kind) {
        case 0: return read_vit(spec);
        case 1: return read_tiny_vit(spec);
        case 2: return read_radio(spec);
        default: return read_efficientnet_lite(spec);
    }
}

size_t read_kind(const Field& field, const std::vector<std::string>& kinds, const char* reader, const char* otherwise) {
    std::string kind, listed;
    if (field.json().is_object()) {
        const auto found = field.json().find("kind");
        const bool given = found != field.json().end();
        if (!given) kind = otherwise;
        else if (found->is_string()) kind = found->get<std::string>();
        else if (found->is_boolean()) kind = found->get<bool>() ? "True" : "False";
        else kind = found->is_null() ? "None" : found->dump();
    }
    for (size_t i = 0; i < kinds.size(); ++i) {
        if (kinds[i] == kind) return i;
        listed += (i ? ", '" : "'") + kinds[i] + "'";
    }
    field.refuse("Input tag '" + kind + "' found using " + reader +
                 "() does not match any of the expected tags: " + listed);
}

void check_colour(const Field& field, bool above_zero) {
    for (const Field& each : field.list_of(3)) above_zero ? each.positive() : each.number();
}

void check_divides(const Record& spec, const std::string& what, int64_t width, int64_t heads) {
    if (width % heads) {
        spec.wrong(what + " " + std::to_string(width) + " is not a multiple of heads " + std::to_string(heads));
    }
}

}  // namespace samclip
