#include "bundle/contract.hpp"

#include <stdexcept>

#include "python_repr.hpp"

namespace samclip {
namespace {

using Dimension = TensorSpec::Dimension;
using Shape = std::vector<Dimension>;

// A tensor of float32.
TensorSpec of(const char* name, Shape shape) { return {name, false, std::move(shape)}; }

Signature with_photo(const ModelSpec& spec, GraphName name, const Size& size) {
    const int64_t rows = size.rows(), columns = size.columns(), features = spec.features;
    const TensorSpec image = of("image", {"I", int64_t{3}, int64_t{size.height}, int64_t{size.width}});
    const TensorSpec tokens = of("tokens", {"I", spec.width, rows, columns});
    const TensorSpec embedding = of("embedding", {"I", int64_t{kChannels}, rows, columns});
    if (name == GraphName::image_encoder) {
        return {{image}, spec.clip_vision ? std::vector{embedding} : std::vector{tokens, embedding}};
    }
    const Size grid = spec.feature_grid(size);
    return {{tokens},
            {of("image_features", {"I", features}),
             of("patch_features", {"I", features, int64_t{grid.height}, int64_t{grid.width}})}};
}

Signature with_prompts(const ModelSpec& spec, GraphName name, const Size& size) {
    const int64_t one = 1, channels = kChannels, rows = size.rows(), columns = size.columns();
    const int64_t low_rows = size.low_rows(), low_columns = size.low_columns();
    const char* const shared = spec.guidance ? "B" : "M";  // prompts cannot share a `dense` that each is drawn into
    const TensorSpec sparse = of("sparse", {"B", "N", channels});
    const TensorSpec dense = of("dense", {shared, channels, rows, columns});
    if (name == GraphName::prompt_encoder) {
        return {{of("points", {"B", "N", int64_t{2}}), of("labels", {"B", "N"}),
                 of("mask", {shared, one, low_rows, low_columns}), of("has_mask", {one})},
                {sparse, dense}};
    }
    // The prompts of a call are for one photo.
    return {{of("embedding", {one, channels, rows, columns}), sparse, dense},
            {of("masks", {"B", int64_t{4}, low_rows, low_columns}), of("scores", {"B", int64_t{4}})}};
}

std::string shown(const Shape& shape) {
    std::vector<std::string> sides;
    for (const Dimension& side : shape) {
        const auto* letter = std::get_if<std::string>(&side);
        sides.push_back(letter ? python_repr(*letter) : std::to_string(std::get<int64_t>(side)));
    }
    return python_tuple(sides);
}

std::string names(const std::vector<TensorSpec>& tensors) {
    std::vector<std::string> listed;
    for (const TensorSpec& each : tensors) listed.push_back(python_repr(each.name));
    return python_list(listed);
}

bool alike(const std::vector<TensorSpec>& own, const std::vector<TensorSpec>& wanted) {
    bool same = own.size() == wanted.size();
    for (size_t i = 0; same && i < own.size(); ++i) {
        same = own[i].name == wanted[i].name && own[i].integers == wanted[i].integers &&
               own[i].shape.size() == wanted[i].shape.size();
    }
    return same;
}

}  // namespace

std::vector<GraphName> sized(const ModelSpec& spec) {
    if (spec.clip_vision) return {GraphName::image_encoder, GraphName::prompt_encoder, GraphName::mask_decoder};
    return {GraphName::image_encoder, GraphName::clip_head, GraphName::prompt_encoder, GraphName::mask_decoder};
}

Signature signature(const ModelSpec& spec, GraphName name, const Size& size) {
    const int64_t features = spec.features;
    if (name == GraphName::clip_image_encoder) {
        const int64_t side = spec.clip_vision.value().size;
        return {{of("image", {"B", int64_t{3}, side, side})}, {of("image_features", {"B", features})}};
    }
    if (name == GraphName::text_encoder) {
        const Dimension length = spec.text.filled ? Dimension(int64_t{spec.text.context}) : Dimension("L");
        return {{{"tokens", true, {"B", length}}}, {of("text_features", {"B", features})}};
    }
    const bool photo = name == GraphName::image_encoder || name == GraphName::clip_head;
    return photo ? with_photo(spec, name, size) : with_prompts(spec, name, size);
}

std::map<std::string, Dimension> fixed_sides(const Signature& own, const Signature& contract) {
    std::map<std::string, Dimension> chosen;  // whatever stands in the first place of a letter stands in all
    const auto check = [&chosen](const TensorSpec& ours, const TensorSpec& theirs) {
        for (size_t i = 0; i < ours.shape.size(); ++i) {
            const Dimension& side = ours.shape[i];
            Dimension asked = theirs.shape[i];
            if (const auto* letter = std::get_if<std::string>(&asked)) {
                const auto* number = std::get_if<int64_t>(&side);
                const bool named = number ? *number > 0 : *letter == "M" && std::get<std::string>(side) == "B";
                asked = chosen.emplace(*letter, named ? side : asked).first->second;
            }
            if (side != asked) {
                throw std::invalid_argument(ours.name + " is " + shown(ours.shape) + ", not " + shown(theirs.shape));
            }
        }
    };
    for (const auto part : {&Signature::inputs, &Signature::outputs}) {
        const std::vector<TensorSpec>&tensors = own.*part, &wanted = contract.*part;
        if (!alike(tensors, wanted)) throw std::invalid_argument(names(tensors) + " for " + names(wanted));
        for (size_t i = 0; i < tensors.size(); ++i) check(tensors[i], wanted[i]);
    }
    return chosen;
}

}  // namespace samclip
