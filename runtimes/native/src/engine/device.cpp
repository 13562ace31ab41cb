#include "engine/device.hpp"

#include <algorithm>
#include <cctype>

#include "error.hpp"
#include "python_repr.hpp"
#include "text/clean.hpp"

namespace samclip {

namespace {

const char kCpu[] = "CPUExecutionProvider";

struct Known {
    const char* name;
    std::vector<Provider> providers;
};

const std::vector<Known>& known() {
    static const std::vector<Known> all = {
        {"cpu", {{kCpu, {}}}},
        {"cuda", {{"CUDAExecutionProvider", {}}}},
        {"tensorrt", {{"TensorrtExecutionProvider", {}}, {"CUDAExecutionProvider", {}}}},
        // The older format of Core ML's models knows few operations.
        {"coreml", {{"CoreMLExecutionProvider", {{"ModelFormat", "MLProgram"}}}}},
        {"directml", {{"DmlExecutionProvider", {}}}},
        {"openvino", {{"OpenVINOExecutionProvider", {}}}},
        {"qnn", {{"QNNExecutionProvider", {}}}},
        {"xnnpack", {{"XnnpackExecutionProvider", {}}}},
    };
    return all;
}

std::string names() {
    std::vector<std::string> listed;
    for (const Known& each : known()) listed.push_back(each.name);
    return joined(listed);
}

// Where the next KEY=VALUE begins: a comma inside a value, as in JSON, is not followed by KEY=.
size_t next_comma(const std::string& text, size_t from) {
    for (size_t comma = text.find(',', from); comma != std::string::npos; comma = text.find(',', comma + 1)) {
        size_t at = comma + 1;
        while (at < text.size() && (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_' ||
                                    (text[at] == '.' && at > comma + 1))) {
            ++at;
        }
        if (at > comma + 1 && at < text.size() && text[at] == '=') return comma;
    }
    return std::string::npos;
}

std::map<std::string, std::string> options_of(const std::string& name, const std::string& text,
                                              const std::string& given) {
    std::map<std::string, std::string> options;
    if (text.empty()) return options;
    if (std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        return {{"device_id", text}};
    }
    for (size_t from = 0; from != std::string::npos;) {
        const size_t comma = next_comma(text, from);
        const std::string pair = text.substr(from, comma == std::string::npos ? comma : comma - from);
        const size_t equals = pair.find('=');
        if (equals == std::string::npos || equals == 0) {
            throw InputError("device " + given + ": options of " + name + " are KEY=VALUE, with commas between");
        }
        options[pair.substr(0, equals)] = pair.substr(equals + 1);
        from = comma == std::string::npos ? comma : comma + 1;
    }
    return options;
}

// NAME or NAME:KEY=VALUE,KEY=VALUE; or NAME:N for the GPU of that number.
std::vector<Provider> parsed(const std::string& text, const std::string& given) {
    const size_t colon = text.find(':');
    const std::string name = text.substr(0, colon);
    const auto options = options_of(name, colon == std::string::npos ? "" : text.substr(colon + 1), given);
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const Known& each : known()) {
        if (lower != each.name) continue;
        std::vector<Provider> providers = each.providers;
        if (providers[0].name == kCpu && !options.empty()) {
            throw InputError("device " + given + ": the CPU takes no options; see threads");
        }
        for (const auto& option : options) providers[0].options[option.first] = option.second;
        const auto number = options.find("device_id");  // all of them run on the same GPU
        for (size_t k = 1; k < providers.size() && number != options.end(); ++k) providers[k].options.insert(*number);
        return providers;
    }
    if (name.size() < 18 || name.compare(name.size() - 17, 17, "ExecutionProvider") != 0) {
        throw InputError("device " + given + ": there is no " + (name.empty() ? "such" : name) + " device; give " +
                         names() + ", or a provider of ONNX Runtime such as CUDAExecutionProvider");
    }
    return {{name, options}};
}

}  // namespace

std::vector<Provider> providers_of(const std::string& device) {
    std::vector<Provider> providers;
    for (size_t from = 0; from != std::string::npos;) {
        const size_t end = device.find(';', from);
        const std::string text = stripped(device.substr(from, end == std::string::npos ? end : end - from));
        for (Provider& each : parsed(text, device)) {
            const auto same = [&](const Provider& other) { return other.name == each.name; };
            if (std::none_of(providers.begin(), providers.end(), same)) providers.push_back(std::move(each));
        }
        from = end == std::string::npos ? end : end + 1;
    }
    return providers;
}

bool on_cpu(const std::vector<Provider>& providers) {
    return std::all_of(providers.begin(), providers.end(), [](const Provider& each) { return each.name == kCpu; });
}

bool avx2_alone() {
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_cpu_supports("avx2") && !__builtin_cpu_supports("avx512f");
#else
    return false;
#endif
}

}  // namespace samclip
