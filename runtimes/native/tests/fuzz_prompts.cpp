// Fuzzes what a scene is asked: any bytes as points, boxes, labels, masks and names, over an engine that answers at once.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "fake_engine.hpp"

namespace {

// The bytes of an input, taken from its front.
class Bytes {
public:
    Bytes(const uint8_t* data, size_t size) : data_(data), left_(size) {}
    template <typename Value>
    Value take() {
        Value value = {};
        const size_t count = std::min(sizeof value, left_);
        std::memcpy(&value, data_, count);
        data_ += count;
        left_ -= count;
        return value;
    }
    std::string text(size_t most) {
        const size_t count = std::min(most, left_);
        const std::string taken(reinterpret_cast<const char*>(data_), count);
        data_ += count;
        left_ -= count;
        return taken;
    }

private:
    const uint8_t* data_;
    size_t left_;
};

samclip_scene* scene_of_a_photo() {
    static const FakeEngine engine;
    static const std::vector<uint8_t> pixels(40 * 30 * 3, 120);
    samclip_options options = {};
    options.engine = engine.table();
    samclip_model* model = nullptr;
    samclip_scene* scene = nullptr;
    const samclip_image image = samclip_packed(SAMCLIP_RGB, pixels.data(), 40, 30);
    const samclip_size size = {128, 128};
    if (samclip_load(SAMCLIP_EDGE_BUNDLE "/../tiny", &options, &model) || samclip_look(model, &image, &size, nullptr, &scene)) std::abort();
    samclip_free_model(model);
    return scene;
}

void use(samclip_masks* masks) {
    std::vector<float> features(samclip_mask_count(masks) * 512);
    if (samclip_mask_features(masks, nullptr, features.data()) == SAMCLIP_FAULT) std::abort();
    std::vector<uint8_t> pixels(40 * 30);
    for (size_t k = 0; k < samclip_mask_count(masks); ++k) {
        samclip_mask mask;
        if (samclip_mask_at(masks, k, &mask) || samclip_draw(masks, k, 1, pixels.data(), 0)) std::abort();
        int64_t area = 0;
        for (const uint8_t each : pixels) area += each;
        if (mask.area != area || mask.box[2] > 40 || mask.box[3] > 30) std::abort();
    }
    samclip_free_masks(masks);
}

void segment(samclip_scene* scene, Bytes& bytes) {
    const auto how = bytes.take<uint8_t>();
    const size_t prompts = bytes.take<uint8_t>() % 5, each = bytes.take<uint8_t>() % 4;
    const samclip_size low = samclip_low_res(scene);
    std::vector<double> points(prompts * each * 2 + 1), boxes(prompts * 4 + 1);
    std::vector<int> labels(prompts * each + 1);
    std::vector<float> masks(prompts * static_cast<size_t>(low.width * low.height) + 1, how & 32 ? bytes.take<float>() : 1.0f);
    for (double& value : points) value = bytes.take<uint8_t>() % 8 ? bytes.take<int16_t>() / 100.0 : bytes.take<double>();
    for (double& value : boxes) value = bytes.take<uint8_t>() % 8 ? bytes.take<int16_t>() / 100.0 : bytes.take<double>();
    for (int& value : labels) value = bytes.take<uint8_t>() % 8 ? bytes.take<uint8_t>() % 2 : bytes.take<int>();
    samclip_prompts asked = {};
    asked.prompts = prompts;
    asked.points_each = each;
    asked.points = how & 1 ? points.data() : nullptr;
    asked.labels = how & 2 ? labels.data() : nullptr;
    asked.boxes = how & 4 ? boxes.data() : nullptr;
    asked.masks = how & 8 ? masks.data() : nullptr;
    samclip_masks* found = nullptr;
    const samclip_status status = how & 16 ? samclip_segment_all(scene, &asked, nullptr, &found) : samclip_segment(scene, &asked, nullptr, &found);
    if ((status == SAMCLIP_OK) != (found != nullptr) || status == SAMCLIP_FAULT) std::abort();
    if (found != nullptr && samclip_mask_count(found) != prompts * (how & 16 ? 3 : 1)) std::abort();
    use(found);
}

// Names of an input, which live as long as this.
struct Given {
    explicit Given(Bytes& bytes) {
        // Mostly words that were learned before, which is sooner done.
        static const char* const known[] = {"dog", "cat", "a dog\xC3\xA9", ""};
        for (size_t k = bytes.take<uint8_t>() % 4; k > 0; --k) {
            const auto which = bytes.take<uint8_t>();
            texts.push_back(which < 240 ? known[which % 4] : bytes.text(12));
        }
        for (const std::string& each : texts) names.push_back(each.c_str());
    }
    samclip_names of() const { return {names.data(), names.size()}; }

    std::vector<std::string> texts;
    std::vector<const char*> names;
};

samclip_grid grid_of(Bytes& bytes) {
    samclip_grid grid = {};
    grid.points_per_side = bytes.take<uint8_t>() % 8 ? 1 + bytes.take<uint8_t>() % 4 : -bytes.take<uint8_t>();
    if (grid.points_per_side == 0) grid.points_per_side = 1;  // which stands for 32, and lasts
    for (double* each : {&grid.predicted_iou, &grid.stability, &grid.offset, &grid.overlap}) {
        if (bytes.take<uint8_t>() % 4 == 0) *each = bytes.take<double>();
    }
    return grid;
}

void find(samclip_scene* scene, Bytes& bytes) {
    samclip_naming naming = {};
    samclip_finding how = {};
    how.naming = &naming;
    how.points = bytes.take<int8_t>();
    how.has_threshold = bytes.take<uint8_t>() & 1;
    how.threshold = bytes.take<double>();
    naming.has_min_score = bytes.take<uint8_t>() & 1;
    naming.min_score = bytes.take<uint8_t>() % 2 ? 0 : bytes.take<double>();
    how.no_refine = bytes.take<uint8_t>() & 1;
    const samclip_grid grid = grid_of(bytes);
    how.grid = &grid;
    const Given labels(bytes), background(bytes);
    const samclip_names rivals = background.of();
    if (!background.names.empty()) naming.background = &rivals;
    samclip_masks* found = nullptr;
    if (samclip_find(scene, labels.of(), &how, nullptr, &found) == SAMCLIP_FAULT) std::abort();
    use(found);
    samclip_guesses* guesses = nullptr;
    if (samclip_classify(scene, labels.of(), &naming, nullptr, &guesses) == SAMCLIP_FAULT) std::abort();
    if (samclip_guess_count(guesses) > labels.names.size()) std::abort();
    samclip_free_guesses(guesses);
}

void everything(samclip_scene* scene, Bytes& bytes) {
    const samclip_grid grid = grid_of(bytes);
    const Given labels(bytes);
    samclip_masks* found = nullptr;
    if (samclip_everything(scene, labels.of(), nullptr, &grid, nullptr, &found) == SAMCLIP_FAULT) std::abort();
    use(found);
}

void take(samclip_scene* scene, Bytes& bytes) {
    const Given labels(bytes);
    const std::string one = bytes.text(40), other = bytes.text(400);
    const char* const rles[] = {one.c_str(), other.c_str()};
    samclip_masks* taken = nullptr;
    if (samclip_take_masks(scene, rles, other.empty() ? 1 : 2, &taken) == SAMCLIP_FAULT) std::abort();
    if (taken && samclip_name(taken, labels.of(), nullptr, nullptr) == SAMCLIP_FAULT) std::abort();
    use(taken);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static samclip_scene* const scene = scene_of_a_photo();
    Bytes bytes(data, size);
    void (*const asked[])(samclip_scene*, Bytes&) = {segment, find, everything, take};
    asked[bytes.take<uint8_t>() % 4](scene, bytes);
    return 0;
}
