// The graphs: names, inputs, outputs, shapes. As `samclip_edge/bundle/contract.py`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "bundle/manifest.hpp"
#include "bundle/spec.hpp"

namespace samclip {

// An input or output as a manifest writes it: a dimension is a number, or a letter that each call chooses.
struct TensorSpec {
    using Dimension = std::variant<int64_t, std::string>;
    std::string name;
    bool integers = false;  // int32; else float32
    std::vector<Dimension> shape;
};

struct Signature {
    std::vector<TensorSpec> inputs, outputs;
};

// The graphs that a model has at each of its input sizes.
std::vector<GraphName> sized(const ModelSpec& spec);

// The signature of a graph. size: not read for `text_encoder` and `clip_image_encoder`.
Signature signature(const ModelSpec& spec, GraphName name, const Size& size);

// What stands in a graph for each letter of the contract: a number, or a letter. A fixed number satisfies a letter, and
// B satisfies M. Throws std::invalid_argument where the graph does not keep the contract.
std::map<std::string, TensorSpec::Dimension> fixed_sides(const Signature& own, const Signature& contract);

}  // namespace samclip
