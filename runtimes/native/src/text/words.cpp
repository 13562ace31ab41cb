#include "text/words.hpp"

#include <algorithm>
#include <cmath>

#include "python_repr.hpp"
#include "task.hpp"
#include "text/clean.hpp"

namespace samclip {

namespace {

constexpr size_t kBatch = 32;           // texts in a call
constexpr size_t kTogether = 32;        // names whose texts are read together
constexpr size_t kMostTexts = 4096;     // that a graph may fix for a call: a manifest comes from anywhere
constexpr size_t kRemembered = 10'000;  // names whose features are kept

void check_text(const std::string& text, const std::string& argument) {
    const std::string fault = fault_of(text);
    if (!fault.empty()) throw InputError(argument + " " + shown(text) + ": " + fault + "; give letters in UTF-8");
}

std::string filled_in(const std::string& pattern, const std::string& name) {
    std::string text;
    size_t from = 0;
    for (size_t at = pattern.find("{}"); at != std::string::npos; at = pattern.find("{}", from)) {
        text.append(pattern, from, at - from).append(name);
        from = at + 2;
    }
    return text.append(pattern, from, std::string::npos);
}

}  // namespace

float dot(const float* one, const float* other, size_t count) {
    constexpr size_t kLanes = 8;  // sums side by side, which the compiler makes one instruction of
    float lanes[kLanes] = {};
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) {
        for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += one[k + lane] * other[k + lane];
    }
    float sum = 0;
    for (; k < count; ++k) sum += one[k] * other[k];
    for (const float lane : lanes) sum += lane;
    return sum;
}

Named read_features(Files& files, const File& names, const File& features, int width) {
    Named found;
    found.names = read_names(files.checked(names)->view(), files.shown(names.path));
    const std::string path = files.shown(features.path);
    const auto bytes = files.checked(features);
    try {
        found.features.values = read_npy(bytes->view(), found.features.count, found.features.width);
    } catch (const std::runtime_error& error) {
        throw InputError(path + ": no features of names (" + error.what() + "); export the bundle again");
    }
    if (found.features.count != found.names.size() || found.features.width != static_cast<size_t>(width)) {
        throw InputError(path + ": float32 (" + std::to_string(found.features.count) + ", " +
                         std::to_string(found.features.width) + ") for " + std::to_string(found.names.size()) +
                         " names; export the bundle again");
    }
    return found;
}

// One call of the text encoder: which texts it reads, and their token ids (B,L), more rows than texts where the graph
// fixes B.
struct Words::Call {
    std::vector<size_t> rows;
    std::vector<int32_t> tokens;
    int64_t texts = 0, length = 0;
};

Words::Words(Sessions& sessions) : sessions_(sessions), vocabulary_(sessions.manifest().names.has_value()) {}

const Tokenizer& Words::tokenizer() {
    const std::lock_guard<std::mutex> held(lock_);
    if (tokenizer_) return *tokenizer_;
    const Manifest& manifest = sessions_.manifest();
    if (!manifest.text_spec.clip_tokenizer) {
        throw InputError(
            sessions_.files().given() +
            ": its tokenizer is not CLIP's, which this library does not read; export it with a vocabulary");
    }
    const Graph& graph = sessions_.graph(GraphName::text_encoder, std::nullopt);
    const auto fixed = graph.fixed.find('L');
    const int context = fixed != graph.fixed.end() ? static_cast<int>(fixed->second) : manifest.text_spec.context;
    const auto bytes = sessions_.files().checked(*manifest.tokenizer);
    tokenizer_.emplace(bytes->view(), manifest.text_spec, context, sessions_.files().shown(manifest.tokenizer->path));
    return *tokenizer_;
}

const Names& Words::templates() {
    const std::lock_guard<std::mutex> held(lock_);
    if (!templates_) {
        const File& file = sessions_.manifest().templates;
        templates_ = read_templates(sessions_.files().checked(file)->view(), sessions_.files().shown(file.path));
    }
    return *templates_;
}

const Named& Words::stored() {
    const std::lock_guard<std::mutex> held(lock_);
    if (stored_) return *stored_;
    const Manifest& manifest = sessions_.manifest();
    stored_ = read_features(sessions_.files(), *manifest.names, *manifest.names_features, manifest.features);
    for (size_t k = 0; k < stored_->names.size(); ++k) {
        const float* row = stored_->features.row(k);
        learned_[clean(stored_->names[k])] = std::make_shared<const Floats>(row, row + stored_->features.width);
    }
    return *stored_;
}

Names Words::vocabulary() { return vocabulary_ ? stored().names : Names(); }

// No lock is held while names are read, or while anybody is told of it: a name that is known never waits.
Features Words::features(const Names& names, samclip_task* task) {
    for (const std::string& name : names) check_text(name, "name");
    if (vocabulary_) stored();
    Known known;
    Names missing;
    {
        const std::lock_guard<std::mutex> held(lock_);
        for (const std::string& name : names) {
            const auto found = learned_.find(clean(name));
            if (found != learned_.end()) known.insert(*found);
            else if (known.emplace(clean(name), nullptr).second) missing.push_back(name);
        }
        if (!missing.empty() && vocabulary_) {
            throw InputError(
                "name " + shown(missing[0]) + ": not in the bundle's vocabulary of " + std::to_string(learned_.size()) +
                " names; choose one of them (`samclip-edge info` lists them) or export with the text encoder");
        }
    }
    learn(missing, known, task);
    Features found{names.size(), static_cast<size_t>(sessions_.manifest().features), {}};
    for (const std::string& name : names) {
        const Floats& own = *known.at(clean(name));
        found.values.insert(found.values.end(), own.begin(), own.end());
    }
    return found;
}

void Words::learn(const Names& missing, Known& known, samclip_task* task) {
    if (missing.empty()) return;
    const size_t step = sessions_.manifest().dynamic ? 1 : kTogether;  // no name may change the feature of another
    const Names& patterns = templates();
    Steps steps(task, "reading names", (missing.size() + step - 1) / step);
    for (size_t from = 0; from < missing.size(); from += step) {
        steps.next();
        const size_t count = std::min(step, missing.size() - from);
        Names texts;
        for (size_t k = 0; k < count; ++k) {
            for (const std::string& pattern : patterns) texts.push_back(filled_in(pattern, missing[from + k]));
        }
        const Features read = encoded(texts, task);
        for (size_t k = 0; k < count; ++k) {
            Floats mean(read.width);
            for (size_t row = k * patterns.size(); row < (k + 1) * patterns.size(); ++row) {
                for (size_t e = 0; e < read.width; ++e) {
                    mean[e] += read.row(row)[e] / static_cast<float>(patterns.size());
                }
            }
            const float length = std::sqrt(dot(mean.data(), mean.data(), mean.size()));
            for (float& each : mean) each /= length;
            const std::string key = clean(missing[from + k]);
            known[key] = std::make_shared<const Floats>(std::move(mean));
            const std::lock_guard<std::mutex> held(lock_);
            if (learned_.size() >= kRemembered) learned_.clear();
            learned_[key] = known[key];
        }
    }
    steps.end();
}

Features Words::encode(const Names& texts, samclip_task* task) {
    for (const std::string& text : texts) check_text(text, "text");
    if (vocabulary_) {
        throw InputError("text: the bundle holds a vocabulary, not a text encoder; use the names in it");
    }
    return encoded(texts, task);
}

Features Words::encoded(const Names& texts, samclip_task* task) {
    const Session& session = sessions_.open(GraphName::text_encoder, std::nullopt);
    Features found{texts.size(), static_cast<size_t>(sessions_.manifest().features), {}};
    found.values.resize(found.count * found.width);
    for (const Call& call : calls(texts)) {
        const std::vector<Tensor> said = session.run({session.of(call.tokens, {call.texts, call.length})}, task);
        if (count_of(said[0].shape()) != static_cast<size_t>(call.texts) * found.width) {
            throw Error(SAMCLIP_ENGINE, "text_features: have another shape than the manifest says");
        }
        for (size_t k = 0; k < call.rows.size(); ++k) {
            std::copy_n(said[0].floats() + k * found.width, found.width,
                        found.values.data() + call.rows[k] * found.width);
        }
    }
    return found;
}

// The calls that read texts, each of texts of one length, so that nothing is filled up.
std::vector<Words::Call> Words::calls(const Names& texts) {
    const Tokenizer& read = tokenizer();
    const Graph& graph = sessions_.graph(GraphName::text_encoder, std::nullopt);
    const auto fixed_length = graph.fixed.find('L'), fixed_texts = graph.fixed.find('B');
    const bool one_length = fixed_length != graph.fixed.end(), one_batch = fixed_texts != graph.fixed.end();
    const std::vector<int64_t> taken = graph.taken("L");
    std::map<size_t, std::vector<size_t>> by_length;
    std::vector<std::vector<int32_t>> tokens;
    for (const std::string& text : texts) {
        tokens.push_back(read(text));
        size_t length = one_length ? static_cast<size_t>(fixed_length->second) : tokens.back().size();
        for (const int64_t each : taken) {  // the least that holds it: what stands after its end changes nothing
            if (static_cast<size_t>(each) < length) continue;
            length = static_cast<size_t>(each);
            break;
        }
        by_length[length].push_back(tokens.size() - 1);
    }
    const size_t step = one_batch ? static_cast<size_t>(fixed_texts->second) : kBatch;
    if (step > kMostTexts) {
        throw InputError(sessions_.files().given() + ": its text_encoder takes " + std::to_string(step) +
                         " texts in a call; export it for " + std::to_string(kMostTexts) + " at most");
    }
    std::vector<Call> made;
    for (const auto& [length, same] : by_length) {
        for (size_t from = 0; from < same.size(); from += step) {
            const size_t count = std::min(step, same.size() - from);
            // Engines have a way of their own for a single text, whose last bits differ. So it is read twice.
            const size_t rows = one_batch ? step : std::max<size_t>(count, 2);
            const auto first = same.begin() + static_cast<long>(from);
            Call call;
            call.rows.assign(first, first + static_cast<long>(count));
            call.texts = static_cast<int64_t>(rows);
            call.length = static_cast<int64_t>(length);
            for (size_t row = 0; row < rows; ++row) {
                std::vector<int32_t> ids = tokens[call.rows[row % count]];
                ids.resize(length, read.pad());
                call.tokens.insert(call.tokens.end(), ids.begin(), ids.end());
            }
            made.push_back(std::move(call));
        }
    }
    return made;
}

std::vector<double> Words::probabilities(const Floats& feature, const Names& names, samclip_task* task) {
    const Features own = features(names, task);
    std::vector<double> powers;
    double highest = -1e300, sum = 0;
    for (size_t k = 0; k < own.count; ++k) {
        powers.push_back(logit_scale() * static_cast<double>(dot(feature.data(), own.row(k), own.width)));
        highest = std::max(highest, powers.back());
    }
    for (double& each : powers) sum += each = std::exp(each - highest);
    for (double& each : powers) each /= sum;
    return powers;
}

}  // namespace samclip
