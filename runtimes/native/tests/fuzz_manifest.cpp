// Any bytes as a manifest: it is taken, and what the pipeline reads of it holds; or it is refused with its line.
#include <cstdlib>

#include "bundle/manifest.hpp"
#include "error.hpp"
#include "fuzz_json.hpp"

namespace {

void need(bool holds) {
    if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        const samclip::Manifest manifest = samclip::parse_manifest({reinterpret_cast<const char*>(data), size}, "manifest.json");
        const samclip::Size named = manifest.names_size();
        need(!manifest.sizes.empty() && manifest.features > 0);
        need(manifest.tokenizer.has_value() != manifest.names.has_value());
        need(manifest.side_by_side == manifest.clip_vision.has_value());
        need(manifest.text_spec.end_of_text >= 0 && manifest.text_spec.end_of_text < manifest.text_spec.vocab);
        for (const samclip::Size& each : manifest.sizes) {
            need(manifest.find(samclip::GraphName::image_encoder, each) != nullptr);
            need(manifest.find(samclip::GraphName::mask_decoder, each) != nullptr);
            need(each.width > 0 && each.height > 0 && each.width % 16 == 0 && each.height % 16 == 0);
        }
        need(manifest.find(samclip::GraphName::prompt_encoder, named) != nullptr);
        for (const samclip::Graph& graph : manifest.graphs) {
            need(!graph.files.empty() && !graph.inputs.empty() && !graph.outputs.empty());
            for (const samclip::File& file : graph.files) need(file.sha256.size() == 64 && file.bytes >= 0);
            for (const auto* ports : {&graph.inputs, &graph.outputs}) {
                for (const samclip::Port& port : *ports) {
                    for (const samclip::Side& side : port.shape) need(side.open() ? side.letter != 0 : side.number > 0);
                }
            }
        }
    } catch (const samclip::InputError&) {
    }
    return 0;
}
