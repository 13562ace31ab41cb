// Fuzzes what a scene is asked: any bytes as points, boxes, labels, masks and names, over an engine that answers at once.
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
    if (samclip_load(SAMCLIP_EDGE_BUNDLE, &options, &model) || samclip_look(model, &image, nullptr, nullptr, &scene)) std::abort();
    samclip_free_model(model);
    return scene;
}

void segment(samclip_scene* scene, Bytes& bytes) {
    const auto how = bytes.take<uint8_t>();
    const size_t prompts = bytes.take<uint8_t>() % 5, each = bytes.take<uint8_t>() % 4;
    const samclip_size low = samclip_low_res(scene);
    std::vector<double> points(prompts * each * 2 + 1), boxes(prompts * 4 + 1);
    std::vector<int> labels(prompts * each + 1);
    std::vector<float> masks(prompts * static_cast<size_t>(low.width * low.height) + 1, bytes.take<float>());
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
    samclip_free_masks(found);
}

void find(samclip_scene* scene, Bytes& bytes) {
    std::vector<std::string> texts;
    std::vector<const char*> names;
    samclip_finding how = {};
    how.points = bytes.take<int8_t>();
    how.has_threshold = bytes.take<uint8_t>() & 1;
    how.threshold = bytes.take<double>();
    how.naming.has_min_score = bytes.take<uint8_t>() & 1;
    how.naming.min_score = bytes.take<double>();
    how.no_refine = bytes.take<uint8_t>() & 1;
    for (size_t k = bytes.take<uint8_t>() % 4; k > 0; --k) texts.push_back(bytes.text(12));
    for (const std::string& each : texts) names.push_back(each.c_str());
    samclip_masks* found = nullptr;
    if (samclip_find(scene, {names.data(), names.size()}, &how, nullptr, &found) == SAMCLIP_FAULT) std::abort();
    samclip_free_masks(found);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static samclip_scene* const scene = scene_of_a_photo();
    Bytes bytes(data, size);
    if (bytes.take<uint8_t>() & 1) segment(scene, bytes);
    else find(scene, bytes);
    return 0;
}
