#include "bundle/spec.hpp"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "bundle/encoder_spec.hpp"
#include "python_repr.hpp"

namespace samclip {
namespace {

constexpr int kClipVocab = 49408;  // token ids of CLIP's tokenizer

void read_decoder(const Field& field) {
    Record spec(field, "DecoderSpec");
    for (const char* key : {"depth", "heads", "mlp"}) spec.count(key, 1);
    spec.close();
}

// The CLIP head's `max_grid`.
int read_head(const Field& field) {
    const std::vector<std::string> kinds = {"layers", "adaptor", "classes"};
    const size_t kind = read_kind(field, kinds, "_head", "layers");
    const char* const models[] = {"ClipHeadSpec", "AdaptorHeadSpec", "ClassHeadSpec"};
    Record spec(field.under(kinds[kind]), models[kind]);
    spec.given("kind");
    if (kinds[kind] == "layers") spec.count("depth", 3);
    if (kinds[kind] == "classes") spec.count("classes", 1000);
    spec.count("hidden", 1);
    if (kinds[kind] == "adaptor") spec.whole("blocks", 3, 0);
    const int max_grid = spec.count("max_grid", 32);
    spec.close();
    return max_grid;
}

// What older files say: the numbers of a ViT, without a tower. Its size.
int read_older_vision(const Field& field) {
    std::set<std::string> keys;
    for (const auto& each : field.json().items()) {
        const Json& value = each.value();
        const bool whole =
            value.is_boolean() ? value.get<bool>() : value.is_number_unsigned() && value.get<uint64_t>() > 0;
        if (!whole) field.wrong("the numbers of its ViT are no positive whole numbers");
        keys.insert(each.key());
    }
    for (const char* optional : {"patch", "size"}) keys.erase(optional);
    if (keys != std::set<std::string>{"width", "depth", "heads"}) {
        field.wrong("it has neither a tower nor the width, depth and heads of a ViT");
    }
    const int64_t layers = field.at("depth").whole();
    if (layers > 256) {
        field.under("tower").wrong("tower: " + std::to_string(layers) + " layers are more than any CLIP has");
    }
    return field.json().contains("size") ? field.at("size").count() : ClipVision().size;
}

void check_tower(const Field& tower) {
    tower.entries();
    const Json& fields = tower.json();
    const auto name = fields.find("timm_model_name");
    if (name != fields.end()) {
        const std::string shown = name->is_string() ? python_repr(name->get<std::string>()) : name->dump();
        if (shown.find(':') != shown.npos) {
            tower.wrong("tower: " + shown + " is an address, not the name of a model of timm");
        }
    }
    const auto layers = fields.find("layers");
    if (layers != fields.end() && layers->is_number_unsigned() && layers->get<uint64_t>() > 256) {
        tower.wrong("tower: " + layers->dump() + " layers are more than any CLIP has");
    }
}

ClipVision read_vision(const Field& field) {
    ClipVision vision;
    if (field.json().is_object() && !field.json().contains("tower")) {
        vision.size = read_older_vision(field);
        return vision;
    }
    Record spec(field, "ClipVisionSpec");
    check_tower(spec.required("tower"));
    vision.size = spec.count("size", vision.size);
    if (const auto mean = spec.given("mean")) check_colour(*mean, false);
    if (const auto deviation = spec.given("std")) check_colour(*deviation, true);
    vision.resize = static_cast<ClipVision::Resize>(spec.one_of("resize", {"shortest", "longest", "squash"}));
    vision.bicubic = spec.one_of("interpolation", {"bicubic", "bilinear"}) == 0;
    spec.close();
    return vision;
}

TextSpec read_text_spec(const Field& field) {
    TextSpec text;
    Record spec(field, "TextSpec");
    const int width = spec.required("width").count();
    spec.required("depth").count();
    const int heads = spec.required("heads").count();
    text.vocab = static_cast<int>(spec.whole("vocab", text.vocab, 514));
    if (const auto context = spec.given("context")) {
        text.context = context->count();
        context->whole(1, 512);
    }
    spec.one_of("activation", {"gelu", "gelu_tanh", "quick_gelu"});
    if (const auto mlp = spec.nullable("mlp")) mlp->count();
    if (const auto eps = spec.given("eps")) eps->positive();
    const bool causal = spec.truth("causal", true);
    const bool last = spec.one_of("pool", {"end", "last"}) == 1;
    const auto end = spec.nullable("end");
    text.end_of_text = end ? static_cast<int>(end->whole(0, kMost)) : text.vocab - 1;
    spec.one_of("projection", {"matrix", "linear", "none"});
    spec.truth("sigmoid", false);
    text.clip_tokenizer = spec.one_of("tokenizer", {"clip", "own"}) == 0;
    text.cleaning = static_cast<Cleaning>(spec.one_of("clean", {"lower", "canonicalize", "whitespace"}));
    text.filled = !causal || last;
    spec.close();

    const std::string vocab = std::to_string(text.vocab);
    if (text.clip_tokenizer && text.vocab > kClipVocab) {
        spec.wrong("vocab " + vocab + " is more than the " + std::to_string(kClipVocab) + " of CLIP's tokenizer");
    }
    check_divides(spec, "width", width, heads);
    if (text.end_of_text >= text.vocab) {
        spec.wrong("end " + std::to_string(text.end_of_text) + " is not below vocab " + vocab);
    }
    return text;
}

void check_rising(const Field& field) {
    const std::vector<Size> sizes = read_sizes(field, 0);
    const auto not_rising = [](const Size& one, const Size& next) { return !(one < next); };
    if (sizes.empty() || std::adjacent_find(sizes.begin(), sizes.end(), not_rising) != sizes.end()) {
        std::vector<std::string> shown;
        for (const Size& size : sizes) shown.push_back(size_repr(size));
        field.wrong("sizes " + python_tuple(shown) + " are not a rising list");
    }
}

}  // namespace

Size ModelSpec::feature_grid(const Size& size) const {
    const bool halved = std::max(size.rows(), size.columns()) > max_grid;
    return halved ? Size{(size.rows() + 1) / 2, (size.columns() + 1) / 2} : Size{size.rows(), size.columns()};
}

ModelSpec read_spec(const Field& field) {
    ModelSpec model;
    Record spec(field, "ModelSpec");
    spec.required("name").text();
    model.width = read_encoder(spec.required("encoder"));
    if (const auto decoder = spec.given("decoder")) read_decoder(*decoder);
    if (const auto head = spec.given("clip_head")) model.max_grid = read_head(*head);
    if (const auto vision = spec.nullable("clip_vision")) model.clip_vision = read_vision(*vision);
    model.text = read_text_spec(spec.required("text"));
    model.features = spec.required("features").count();
    model.guidance = static_cast<int>(spec.whole("guidance", 0, 0));
    check_rising(spec.required("sizes"));
    spec.close();
    return model;
}

Size read_size(const Field& field) {
    const Json& value = field.json();
    const bool text = value.is_string();
    const std::string written = text ? value.get<std::string>() : std::to_string(field.under("int").whole());
    try {
        return size_of(written);
    } catch (const std::invalid_argument& error) {
        field.wrong(error.what());
    }
}

std::vector<Size> read_sizes(const Field& field, size_t least) {
    std::vector<Size> sizes;
    for (const Field& each : field.list(least)) sizes.push_back(read_size(each));
    return sizes;
}

std::string size_repr(const Size& size) { return size.height == size.width ? size.text() : python_repr(size.text()); }

}  // namespace samclip
