#include "engine/engine_litert.hpp"

#include <cstring>

#include "engine/litert_graph.hpp"
#include "engine/table.hpp"

namespace samclip {

namespace {

samclip_status open_entry(void*, const samclip_graph* graph, void** session, samclip_error_text* error) {
    return guarded(error, [&] { *session = new LiteRtGraph(*graph); });
}

void close_entry(void*, void* session) { delete static_cast<LiteRtGraph*>(session); }

samclip_status make_entry(void*, void*, samclip_type type, size_t dimensions, const int64_t* shape, void** tensor,
                          samclip_error_text* error) {
    return guarded(error, [&] { *tensor = new HostTensor(type, Shape(shape, shape + dimensions)); });
}

void free_entry(void*, void* tensor) { delete static_cast<HostTensor*>(tensor); }

samclip_status layout_entry(void*, const void* tensor, samclip_layout* layout, samclip_error_text* error) {
    return guarded(error, [&] {
        auto& held = *const_cast<HostTensor*>(static_cast<const HostTensor*>(tensor));
        lay_out(layout, held.type, held.shape);
        layout->device = "cpu";
        layout->host = held.values.data();
    });
}

samclip_status fill_entry(void*, void* tensor, const void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        auto& into = *static_cast<HostTensor*>(tensor);
        if (bytes != into.values.size() * 4) throw Error(SAMCLIP_ENGINE, "a tensor is filled with another size");
        std::memcpy(into.values.data(), data, bytes);
    });
}

samclip_status read_entry(void*, const void* tensor, void* data, size_t bytes, samclip_error_text* error) {
    return guarded(error, [&] {
        const auto& from = *static_cast<const HostTensor*>(tensor);
        if (bytes != from.values.size() * 4) throw Error(SAMCLIP_ENGINE, "a tensor is read with another size");
        std::memcpy(data, from.values.data(), bytes);
    });
}

samclip_status run_entry(void*, void* session, void* const* inputs, void** outputs, samclip_task* task,
                         samclip_error_text* error) {
    return guarded(error, [&] {
        if (samclip_cancelled(task)) throw Error(SAMCLIP_CANCELLED, "the call was cancelled");
        auto made = static_cast<LiteRtGraph*>(session)->run(inputs);
        for (size_t k = 0; k < made.size(); ++k) outputs[k] = made[k].release();
    });
}

}  // namespace

const samclip_engine& litert_engine() {
    static const samclip_engine table = {
        sizeof(samclip_engine), nullptr,    open_entry, close_entry, make_entry, free_entry,
        layout_entry,           fill_entry, read_entry, run_entry};
    return table;
}

}  // namespace samclip
