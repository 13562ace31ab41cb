// Answers questions about bundles: on each line of stdin a question in JSON, on each line of stdout its answer.
#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "bundle/checked_json.hpp"
#include "bundle/files.hpp"
#include "bundle/sha256.hpp"
#include "error.hpp"
#include "python_repr.hpp"

using namespace samclip;

namespace {

Json shown(const Size& size) { return {size.height, size.width}; }

Json shown(const std::vector<Size>& sizes) {
    Json list = Json::array();
    for (const Size& each : sizes) list.push_back(shown(each));
    return list;
}

Json shown(const File& file) { return {file.path, file.sha256, file.bytes}; }

Json shown(const std::vector<Port>& ports) {
    Json list = Json::array();
    for (const Port& port : ports) {
        Json shape = Json::array();
        for (const Side& side : port.shape) {
            if (side.open()) shape.push_back(std::string(1, side.letter));
            else shape.push_back(side.number);
        }
        list.push_back({port.name, port.integers, shape});
    }
    return list;
}

Json shown(const Logistic& logistic) { return {logistic.slope, logistic.offset}; }

Json shown(const Calibration& calibration) {
    Json sizes = Json::array();
    for (const Chances& each : calibration.sizes) {
        sizes.push_back({shown(each.size), shown(each.patches), shown(each.mask), shown(each.photo)});
    }
    return {shown(calibration.names), shown(calibration.features), calibration.same, sizes};
}

Json shown(const ClipVision& vision) { return {vision.size, static_cast<int>(vision.resize), vision.bicubic}; }

template <typename T>
Json shown(const std::optional<T>& value) {
    if constexpr (std::is_arithmetic_v<T>) return value ? Json(*value) : Json();
    else return value ? shown(*value) : Json();
}

Json shown(const Graph& graph) {
    Json files = Json::array(), fixed = Json::object();
    for (const File& file : graph.files) files.push_back(shown(file));
    for (const auto& [letter, number] : graph.fixed) fixed[std::string(1, letter)] = number;
    return {{"name", name_of(graph.name)},         {"size", shown(graph.size)},       {"files", files},
            {"engine", shown(graph.built_engine)}, {"function", graph.function},      {"points", shown(graph.points)},
            {"inputs", shown(graph.inputs)},       {"outputs", shown(graph.outputs)}, {"fixed", fixed},
            {"own_masks", graph.own_masks}};
}

Json shown(const Manifest& manifest) {
    const TextSpec& text = manifest.text_spec;
    Json graphs = Json::array();
    for (const Graph& graph : manifest.graphs) graphs.push_back(shown(graph));
    return {{"format", manifest.format},
            {"two", manifest.side_by_side},
            {"target", manifest.target},
            {"precision", manifest.precision},
            {"sizes", shown(manifest.sizes)},
            {"trained", manifest.trained},
            {"trained_at", shown(manifest.trained_at)},
            {"features", manifest.features},
            {"guidance", manifest.guidance},
            {"max_grid", manifest.max_grid},
            {"text",
             {text.vocab, text.context, text.end_of_text, text.filled, text.clip_tokenizer,
              static_cast<int>(text.cleaning)}},
            {"clip_vision", shown(manifest.clip_vision)},
            {"graphs", graphs},
            {"templates", shown(manifest.templates)},
            {"logit_scale", manifest.logit_scale},
            {"logit_bias", shown(manifest.logit_bias)},
            {"tokenizer", shown(manifest.tokenizer)},
            {"names", shown(manifest.names)},
            {"names_features", shown(manifest.names_features)},
            {"calibration", shown(manifest.calibration)},
            {"dynamic", manifest.dynamic},
            {"names_size", shown(manifest.names_size())}};
}

File file_of(const Json& fields) { return {fields[0], fields[1], fields[2]}; }

// What `checked` says of each file: how many bytes, or the line of its error.
Json check(Files& files, const Json& wanted) {
    Json answers = Json::array();
    for (const Json& each : wanted) {
        try {
            answers.push_back(files.checked(file_of(each))->size());
        } catch (const ChecksumError& error) {
            answers.push_back(error.what());
        }
    }
    return answers;
}

Json open_bundle(const Json& asked) {
    const auto files = Files::in_folder(asked["folder"]);
    return {{"given", files->given()},
            {"manifest", shown(parse_manifest(files->manifest_text(), files->shown("manifest.json")))}};
}

// Check each file several times, in threads, and then once more.
Json check_in_folder(const Json& asked) {
    const auto files = Files::in_folder(asked["folder"]);
    std::vector<Json> answers(4);
    std::vector<std::thread> threads;
    for (Json& answer : answers) threads.emplace_back([&] { answer = check(*files, asked["files"]); });
    for (std::thread& thread : threads) thread.join();
    answers.push_back(check(*files, asked["files"]));
    for (const Json& each : answers) {
        if (each != answers[0]) return {{"threads differ", answers}};
    }
    return answers[0];
}

// The same of parts of files, whose descriptors are closed before anything is read.
Json check_parts(const Json& asked) {
    std::vector<samclip_file> parts;
    for (const Json& each : asked["parts"]) {
        const auto& path = each["path"].get_ref<const std::string&>();
        const int descriptor = open(each["file"].get<std::string>().c_str(), O_RDONLY);
        parts.push_back({path.c_str(), descriptor, each["offset"], each["length"]});
    }
    const auto close_all = [&parts] {
        for (const samclip_file& each : parts) close(each.descriptor);
    };
    try {
        const auto files = Files::of_descriptors(parts.data(), parts.size());
        close_all();
        const Manifest manifest = parse_manifest(files->manifest_text(), files->shown("manifest.json"));
        return {{"graphs", manifest.graphs.size()}, {"files", check(*files, asked["files"])}};
    } catch (const Error&) {
        close_all();
        throw;
    }
}

Json paths(const Json& asked) {
    std::vector<File> wanted;
    for (const Json& each : asked["files"]) wanted.push_back(file_of(each));
    const auto found = Files::in_folder(asked["folder"])->paths(wanted);
    return found ? Json(*found) : Json();
}

std::string content(const Json& asked) {
    std::ifstream stream(asked["file"].get<std::string>(), std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

Json hashes(const Json& asked) {
    const std::string bytes = content(asked);
    Json found = {{"chosen", sha256(bytes.data(), bytes.size())}};
    for (const Sha256Way& way : sha256_ways()) found[way.name] = sha256_by(way, bytes.data(), bytes.size());
    return found;
}

Json npy(const Json& asked) {
    size_t rows = 0, columns = 0;
    const std::vector<float> values = read_npy(content(asked), rows, columns);
    return {{"rows", rows}, {"columns", columns}, {"values", values}};
}

Json answer(const Json& asked) {
    const std::string ask = asked["ask"];
    if (ask == "open") return open_bundle(asked);
    if (ask == "check") return check_in_folder(asked);
    if (ask == "parts") return check_parts(asked);
    if (ask == "paths") return paths(asked);
    if (ask == "sha256") return hashes(asked);
    if (ask == "npy") return npy(asked);
    if (ask == "repr") return python_repr(asked["text"].get<std::string>());
    return size_of(asked["size"]) < size_of(asked["other"]);
}

}  // namespace

int main() {
    for (std::string line; std::getline(std::cin, line);) {
        Json found;
        try {
            found = answer(Json::parse(line));
        } catch (const Error& error) {
            found = {{"status", error.status()}, {"error", error.what()}};
        } catch (const std::exception& error) {
            found = {{"status", 0}, {"error", error.what()}};
        }
        std::cout << found.dump(-1, ' ', true, Json::error_handler_t::replace) << std::endl;
    }
}
