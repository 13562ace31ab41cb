// A file of LiteRT, opened, and its signatures that are for one graph.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/litert_library.hpp"
#include "engine/tensor.hpp"

namespace samclip {

// A tensor in the host's memory.
struct HostTensor {
    HostTensor(samclip_type of, Shape sides) : type(of), shape(std::move(sides)), values(count_of(shape)) {}
    const samclip_type type;
    const Shape shape;
    std::vector<uint32_t> values;  // both types have four bytes
};

class LiteRtGraph {
public:
    // Throws InputError where LiteRT refuses the file, or where none of its signatures is for the graph.
    explicit LiteRtGraph(const samclip_graph& graph);
    ~LiteRtGraph();
    LiteRtGraph(const LiteRtGraph&) = delete;

    // inputs: a HostTensor for each, in the graph's order. A call of more prompts or texts than a signature takes is
    // cut into several. Throws InputError where no signature is for the numbers of the call.
    std::vector<std::unique_ptr<HostTensor>> run(void* const* inputs);

private:
    struct Place {  // an input or output of a signature, in the graph's order
        size_t index;
        Shape shape;
        LiteRtType type;
        LiteRtObject buffer = nullptr;  // made at the first run
    };
    struct Signature {
        size_t index;
        std::vector<Place> inputs, outputs;
    };
    void find_signatures(LiteRtObject model);
    bool read(LiteRtObject signature, bool inputs, std::vector<Place>& places) const;
    void make_buffers(Signature& signature);
    Signature* fitting(const std::vector<const HostTensor*>& inputs, int64_t most);
    void run_part(Signature& signature, const std::vector<const HostTensor*>& inputs, int64_t from,
                  std::vector<std::unique_ptr<HostTensor>>& outputs);
    void check(int status, const char* what) const;

    const LiteRt& api_;
    const std::string path_;
    std::vector<samclip_port> input_ports_, output_ports_;
    std::vector<std::string> names_;  // of the ports
    using Owner = std::unique_ptr<LiteRtHandle, void (*)(LiteRtObject)>;
    Owner model_, compiled_;
    std::vector<Signature> signatures_;
    std::mutex lock_;  // a signature has buffers of its own, and runs one call at a time
};

}  // namespace samclip
