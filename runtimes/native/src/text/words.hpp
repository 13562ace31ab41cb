// Words to text features, once each: by the bundle's text encoder, or looked up in its vocabulary. As
// `samclip_edge/text/words.py`.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/sessions.hpp"
#include "text/names.hpp"
#include "text/tokenizer.hpp"

namespace samclip {

// K features (K,E) of length 1, one after another.
struct Features {
    size_t count = 0, width = 0;
    Floats values;
    const float* row(size_t k) const { return values.data() + k * width; }
};

float dot(const float* one, const float* other, size_t count);

// K names of a bundle and their features. Throws InputError where the files do not fit each other.
struct Named {
    Names names;
    Features features;
};
Named read_features(Files& files, const File& names, const File& features, int width);

// The text side of a bundle. May be used from several threads.
class Words {
public:
    explicit Words(Sessions& sessions);

    // A feature for each name: the mean over the prompt templates (CLIP, Sec. 3.1.4). Names that `clean` makes equal
    // have one. Throws InputError for a name that the bundle's vocabulary does not hold, or that is no text.
    Features features(const Names& names, samclip_task* task);
    // A feature for each text, without templates. Throws InputError without a text encoder.
    Features encode(const Names& texts, samclip_task* task);
    // Softmax over names of the scaled cosines of a feature (E,): (K,).
    std::vector<double> probabilities(const Floats& feature, const Names& names, samclip_task* task);
    bool has_vocabulary() const { return vocabulary_; }
    // The names of the vocabulary; empty where there is the text encoder.
    Names vocabulary();
    double logit_scale() const { return sessions_.manifest().logit_scale; }

private:
    struct Call;
    using Known = std::map<std::string, std::shared_ptr<const Floats>>;  // by the name as `clean` leaves it
    void learn(const Names& missing, Known& known, samclip_task* task);
    Features encoded(const Names& texts, samclip_task* task);
    std::vector<Call> calls(const Names& texts);
    const Tokenizer& tokenizer();
    const Names& templates();
    const Named& stored();

    Sessions& sessions_;
    const bool vocabulary_;
    std::mutex lock_;
    std::optional<Tokenizer> tokenizer_;
    std::optional<Names> templates_;
    std::optional<Named> stored_;
    Known learned_;
};

}  // namespace samclip
