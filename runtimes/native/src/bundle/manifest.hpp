// What a bundle says of itself: `manifest.json`, validated. As `samclip_edge/bundle/manifest.py`, whose names these
// are.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/sizes.hpp"

namespace samclip {

enum class GraphName { image_encoder, clip_head, prompt_encoder, mask_decoder, text_encoder, clip_image_encoder };
const char* name_of(GraphName graph);

struct File {
    std::string path, sha256;
    int64_t bytes = 0;
    bool operator<(const File& other) const { return path < other.path; }
};

// A dimension: a number, or a letter, which each call chooses (`contract.Tensor`).
struct Side {
    int64_t number = 0;  // 0: open
    char letter = 0;
    bool open() const { return number == 0; }
};

struct Port {
    std::string name;
    bool integers = false;  // int32; else float32
    std::vector<Side> shape;
};

// A signature of a LiteRT file: the numbers that it fixes, by the letter of the graph's signature.
struct LiteRtCall {
    std::string function;
    std::map<std::string, int64_t> sides;
};

struct Graph {
    GraphName name = GraphName::image_encoder;
    std::optional<Size> size;
    std::vector<File> files;
    std::optional<File> built_engine;
    std::string function = "main";
    std::optional<int> points;  // where a call takes one prompt only, how many points that has
    std::vector<LiteRtCall> calls;
    std::vector<Port> inputs, outputs;
    std::map<char, int64_t> fixed;  // the numbers that the graph fixes, by the contract's letter (`fixed_sides`)
    bool own_masks = false;         // where the contract says M, the graph says B: it takes a mask for each prompt

    // The numbers that may stand for a letter, rising; empty where any may (`Graph.taken`).
    std::vector<int64_t> taken(const std::string& letter) const;
};

enum class Cleaning { lower, canonicalize, whitespace };

struct TextSpec {
    int vocab = 49408, context = 77;
    int end_of_text = 49407;
    bool filled = false;         // whether texts must be filled up to the context
    bool clip_tokenizer = true;  // else the bundle's tokenizer.json is another's
    Cleaning cleaning = Cleaning::lower;
};

struct ClipVision {
    int size = 224;
    enum class Resize { shortest, longest, squash } resize = Resize::shortest;
    bool bicubic = true;
};

struct Logistic {
    double slope = 1, offset = 0;
};

struct Chances {
    Size size;
    Logistic patches, mask, photo;
};

struct Calibration {
    File names, features;
    double same = 1;
    std::vector<Chances> sizes;
};

// What built the TensorRT engines of a bundle, and for which GPUs.
struct BuiltEngines {
    std::string builder, version;
    std::vector<std::string> capabilities;  // compute capabilities, such as "8.7"
    bool portable = false;                  // version-compatible: newer versions of the runtime load them too
    bool stripped = false;  // without weights, which are read from the ONNX graph when an engine is loaded
};

struct Manifest {
    int format = 2;
    bool side_by_side = false;  // kind "sam+clip"
    std::string target, precision;
    std::vector<Size> sizes;  // as the bundle lists them: rising, where our exporter wrote it
    bool trained = false;
    std::vector<Size> trained_at;  // empty where the bundle does not say
    int features = 0;              // E
    int guidance = 0;
    int max_grid = 32;  // of the CLIP head (`ModelSpec.feature_grid`)
    TextSpec text_spec;
    std::optional<ClipVision> clip_vision;
    std::vector<Graph> graphs;
    File templates;
    double logit_scale = 1;
    std::optional<double> logit_bias;
    std::optional<File> tokenizer, names, names_features;  // a tokenizer, or a vocabulary
    std::optional<Calibration> calibration;
    std::optional<BuiltEngines> built_engines;
    bool dynamic = false;  // whether scales of int8 are found in each call (`Manifest.dynamic`)

    const Graph* find(GraphName name, const std::optional<Size>& size) const;  // nullptr where there is none
    Size names_size() const;                                                   // `SamClip.names_size`
};

// Read and validate. shown: the path in messages. Throws InputError with Python's line where it is no manifest, of a
// newer format, or does not keep the contract.
Manifest parse_manifest(std::string_view json, const std::string& shown);

}  // namespace samclip
