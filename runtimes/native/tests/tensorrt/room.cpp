#include "room.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "bundle/files.hpp"

namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

const fs::path kSource = SAMCLIP_EDGE_BUNDLE;

void write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

Json described(const fs::path& path, const std::string& content) {
    return {{"path", path.filename().string()},
            {"sha256", samclip::sha256(content.data(), content.size())},
            {"bytes", content.size()}};
}

// The least and the most of each input, as `samclip-edge export` has trtexec build them.
std::string bounds(const Json& graph) {
    const std::map<std::string, std::pair<int, int>> open = {
        {"I", {1, 8}}, {"B", {1, 64}}, {"N", {0, 32}}, {"L", {1, 77}}};
    std::string lines;
    for (const Json& input : graph["signature"]["inputs"]) {
        std::string least, most;
        for (const Json& side : input["shape"]) {
            const auto bound = side.is_string() ? open.at(side) : std::make_pair(side.get<int>(), side.get<int>());
            least += (least.empty() ? "" : "x") + std::to_string(bound.first);
            most += (most.empty() ? "" : "x") + std::to_string(bound.second);
        }
        lines += input["name"].get<std::string>() + " " + least + " " + most + "\n";
    }
    return lines;
}

Model opened(const std::string& folder, const samclip_engine* engine) {
    samclip_options options = {};
    options.size = sizeof options;
    options.engine = engine;
    options.threads = 1;
    samclip_model* model = nullptr;
    REQUIRE_MESSAGE(samclip_load(folder.c_str(), &options, &model) == SAMCLIP_OK, samclip_error());
    return Model(model, samclip_free_model);
}

std::vector<uint8_t> photo(int which) {
    std::vector<uint8_t> pixels;
    for (int y = 0; y < 90; ++y) {
        for (int x = 0; x < 120; ++x) {
            const bool inside = (x - 60) * (x - 60) + (y - 50) * (y - 50) < 500;
            const int sky = 255 - y, grass = 60 + x;
            pixels.push_back(static_cast<uint8_t>(inside ? 220 : which == 0 ? 90 : grass));
            pixels.push_back(static_cast<uint8_t>(inside ? 40 : y < 45 ? sky - 60 : 140));
            pixels.push_back(static_cast<uint8_t>(inside ? 30 + 2 * which : y < 45 ? sky : 50));
        }
    }
    return pixels;
}

samclip_status try_to_look(const Model& model, int which, samclip_scene** scene) {
    const std::vector<uint8_t> pixels = photo(which);
    const samclip_image image = samclip_packed(SAMCLIP_RGB, pixels.data(), 120, 90);
    const samclip_size size = {kSize, kSize};
    return samclip_look(model.get(), &image, &size, nullptr, scene);
}

Answers taken(samclip_masks* masks) {
    Answers answers;
    for (size_t k = 0; k < samclip_mask_count(masks); ++k) {
        samclip_mask mask = {};
        Answer answer;
        answer.pixels.resize(120 * 90);
        REQUIRE(samclip_mask_at(masks, k, &mask) == SAMCLIP_OK);
        REQUIRE(samclip_draw(masks, k, 1, answer.pixels.data(), 0) == SAMCLIP_OK);
        answer.predicted_iou = mask.predicted_iou;
        answer.label = mask.label != nullptr ? mask.label : "";
        answers.push_back(answer);
    }
    samclip_free_masks(masks);
    return answers;
}

Answers segmented(const Scene& scene, const samclip_prompts& prompts) {
    samclip_masks* masks = nullptr;
    REQUIRE_MESSAGE(samclip_segment(scene.get(), &prompts, nullptr, &masks) == SAMCLIP_OK, samclip_error());
    return taken(masks);
}

samclip_status tried(const Scene& scene, const samclip_prompts& prompts) {
    samclip_masks* masks = nullptr;
    const samclip_status status = samclip_segment(scene.get(), &prompts, nullptr, &masks);
    samclip_free_masks(masks);
    return status;
}

samclip_prompts of_boxes(const Boxes& boxes) {
    samclip_prompts prompts = {};
    prompts.prompts = boxes.size() / 4;
    prompts.boxes = boxes.data();
    return prompts;
}

}  // namespace

double iou(const Answer& a, const Answer& b) {
    size_t both = 0, either = 0;
    for (size_t k = 0; k < a.pixels.size(); ++k) {
        both += a.pixels[k] & b.pixels[k];
        either += a.pixels[k] | b.pixels[k];
    }
    return either == 0 ? 1 : static_cast<double>(both) / static_cast<double>(either);
}

Room::Room() {
    stand_in::Gpu& gpu = stand_in::gpu();
    gpu.count = 1, gpu.major = 8, gpu.minor = 7, gpu.version = 100300, gpu.memory = size_t(-1);
    gpu.why_not = "", gpu.knows_its_needs = gpu.weights_fit = true, gpu.breaks = false;
    gpu.clear_counts();
    std::string made = (fs::temp_directory_path() / "samclip-tensorrt-XXXXXX").string();
    REQUIRE(mkdtemp(made.data()) != nullptr);
    folder_ = fs::canonical(made).string();
    for (const auto& each : fs::directory_iterator(kSource)) {
        if (each.path().filename() == "manifest.json") continue;
        fs::create_symlink(fs::canonical(each.path()), folder_ / each.path().filename());
    }
    fs::copy_file(kSource / "manifest.json", folder_ + "/manifest.json");
    change([&](Json& manifest) {
        manifest["target"] = "tensorrt";
        manifest["engines"] = {{"builder", "tensorrt"}, {"version", "10.3.0"}, {"capabilities", {"8.7"}}};
        for (Json& graph : manifest["graphs"]) {
            const fs::path onnx = folder_ / fs::path(graph["files"][0]["path"].get<std::string>());
            const std::string plan = "stand-in of an engine\nonnx " + onnx.string() + "\n" + bounds(graph);
            const fs::path path = fs::path(onnx).replace_extension(".engine");
            write(path, plan);
            graph["engine"] = described(path, plan);
        }
    });
}

Room::~Room() {
    stand_in::Gpu& gpu = stand_in::gpu();
    CHECK(gpu.blocks.empty());
    CHECK(gpu.objects == 0);
    CHECK_MESSAGE(gpu.misuses.empty(), gpu.misuses.size()
                                           << " misuses, first: " << (gpu.misuses.empty() ? "" : gpu.misuses[0]));
    gpu.misuses.clear();
    fs::remove_all(folder_);
}

void Room::change(const std::function<void(Json&)>& edit) const {
    std::ifstream file(folder_ + "/manifest.json");
    Json manifest = Json::parse(file);
    edit(manifest);
    write(folder_ + "/manifest.json", manifest.dump());
}

void Room::write_engine(const std::string& graph, const std::string& plan) const {
    write(engine(graph), plan);
    change([&](Json& manifest) {
        for (Json& each : manifest["graphs"]) {
            if (each["engine"]["path"] == graph + ".engine") each["engine"] = described(engine(graph), plan);
        }
    });
}

Model Room::load(const samclip_engine* engine) const { return opened(folder_, engine); }

Model Room::load_onnx() const { return opened(kSource.string(), nullptr); }

Scene look(const Model& model, int which) {
    samclip_scene* scene = nullptr;
    REQUIRE_MESSAGE(try_to_look(model, which, &scene) == SAMCLIP_OK, samclip_error());
    return Scene(scene, samclip_free_scene);
}

std::vector<double> classify(const Scene& scene, const std::vector<const char*>& names) {
    samclip_guesses* guesses = nullptr;
    REQUIRE_MESSAGE(
        samclip_classify(scene.get(), {names.data(), names.size()}, nullptr, nullptr, &guesses) == SAMCLIP_OK,
        samclip_error());
    std::vector<double> scores(names.size());
    for (size_t k = 0; k < samclip_guess_count(guesses); ++k) {
        samclip_guess guess = {};
        REQUIRE(samclip_guess_at(guesses, k, &guess) == SAMCLIP_OK);
        for (size_t place = 0; place < names.size(); ++place) {
            if (names[place] == std::string(guess.label)) scores[place] = guess.similarity;
        }
    }
    samclip_free_guesses(guesses);
    return scores;
}

Answers click(const Scene& scene, double x, double y) {
    const double point[] = {x, y};
    samclip_prompts prompts = {};
    prompts.prompts = prompts.points_each = 1;
    prompts.points = point;
    return segmented(scene, prompts);
}

Answers in_boxes(const Scene& scene, const Boxes& boxes) { return segmented(scene, of_boxes(boxes)); }

Answers find(const Scene& scene, const std::vector<const char*>& names) {
    samclip_masks* masks = nullptr;
    samclip_finding finding = {};
    const samclip_naming naming = {0, nullptr, 0, 1};
    finding.naming = &naming;  // 0: whatever the chance
    REQUIRE_MESSAGE(samclip_find(scene.get(), {names.data(), names.size()}, &finding, nullptr, &masks) == SAMCLIP_OK,
                    samclip_error());
    return taken(masks);
}

samclip_status try_look(const Model& model) {
    samclip_scene* scene = nullptr;
    const samclip_status status = try_to_look(model, 0, &scene);
    samclip_free_scene(scene);
    return status;
}

samclip_status try_points(const Scene& scene, size_t points) {
    const std::vector<double> where(2 * points, 40);
    samclip_prompts prompts = {};
    prompts.prompts = 1;
    prompts.points_each = points;
    prompts.points = where.data();
    return tried(scene, prompts);
}

samclip_status try_boxes(const Scene& scene, const Boxes& boxes) { return tried(scene, of_boxes(boxes)); }

Boxes some_boxes(size_t count) {
    Boxes boxes;
    for (size_t k = 0; k < count; ++k) boxes.insert(boxes.end(), {static_cast<double>(k % 40), 5, 100, 80});
    return boxes;
}
