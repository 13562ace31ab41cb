// A bundle's sessions: each of its graphs loaded into the engine when it is first asked for, and kept. As
// `bundle/sessions.py`.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "bundle/files.hpp"
#include "bundle/manifest.hpp"
#include "engine/tensor.hpp"

namespace samclip {

// May be used from several threads.
class Sessions {
public:
    // Throws InputError for options that are wrong for the bundle.
    Sessions(std::unique_ptr<Files> files, Manifest manifest, const samclip_options& options);
    ~Sessions();

    const Manifest& manifest() const { return manifest_; }
    Files& files() const { return *files_; }
    // The manifest's graph. Throws InputError where there is none.
    const Graph& graph(GraphName name, const std::optional<Size>& size) const;
    // Opened at the first call. Other graphs can be opened and run meanwhile. Throws Error when its files are not what
    // they should be.
    // serial: one that computes in the calling thread alone, for several calls at once.
    const Session& open(GraphName name, const std::optional<Size>& size, bool serial = false);
    // How many calls of serial sessions at once make use of the processor: 1 where another engine or device computes.
    size_t workers() const;
    // Begin to open the graphs of masks in threads. What goes wrong is thrown where they are asked for.
    void prepare(const Size& size);

private:
    struct Entry {
        std::mutex opening;
        std::vector<std::shared_ptr<Mapping>> mapped;  // outlives the session
        std::unique_ptr<Session> session;
    };
    void open_entry(Entry& entry, const Graph& graph, int threads);
    const std::string& folder() const;  // of the bundle, for messages

    std::unique_ptr<Files> files_;
    const Manifest manifest_;
    std::shared_ptr<const samclip_engine> engine_;
    bool builtin_ = false;  // ONNX Runtime's
    const int threads_;
    const std::string device_;
    std::mutex lock_;
    std::map<std::tuple<GraphName, std::optional<Size>, bool>, std::unique_ptr<Entry>> entries_;
    std::set<Size> prepared_;
    std::vector<std::thread> preparing_;
};

}  // namespace samclip
