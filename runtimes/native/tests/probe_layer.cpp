// Asks everything that samclip_edge.hpp has, of one photo, and prints the answers as JSON.
//
//     probe_layer BUNDLE WIDTH HEIGHT < RGB
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "samclip_edge.hpp"

namespace {

using Json = nlohmann::json;
using namespace samclip_edge;

template <typename Value>
Json or_null(const std::optional<Value>& value) {
    return value ? Json(*value) : Json();
}

Json json_of(const Masks& masks) {
    Json listed = Json::array();
    for (const Mask& mask : masks) {
        std::vector<uint8_t> drawn(static_cast<size_t>(mask.width) * static_cast<size_t>(mask.height));
        mask.draw(drawn.data(), 1);
        int64_t inside = 0;
        for (const uint8_t pixel : drawn) inside += pixel;
        double sum = 0;
        for (const float logit : mask.logits()) sum += static_cast<double>(logit);
        listed.push_back({{"size", {mask.height, mask.width}},
                          {"counts", mask.rle},
                          {"area", mask.area},
                          {"drawn", inside},
                          {"box", mask.box},
                          {"logits", {mask.logits().size(), sum}},
                          {"predicted_iou", or_null(mask.predicted_iou)},
                          {"label", or_null(mask.label)},
                          {"score", or_null(mask.score)},
                          {"similarity", or_null(mask.similarity)},
                          {"point", or_null(mask.point)}});
    }
    return listed;
}

// What a call throws: its status and its line.
template <typename Call>
Json thrown(Call call) {
    try {
        call();
        return {};
    } catch (const Error& error) {
        return {{"status", error.status()}, {"line", error.what()}};
    } catch (const std::exception& error) {
        return {{"line", error.what()}};
    }
}

Json of_scene(const Scene& scene, const Strings& names) {
    Json made;
    Prompts two = Prompts::point(20, 20);
    two.points.insert(two.points.end(), {100, 60});
    two.labels = {1, 0};
    Prompts boxes = Prompts::box(5, 5, 60, 60);
    boxes.boxes.insert(boxes.boxes.end(), {30, 30, 120, 90});
    boxes.count = 2;
    const Masks first = scene.segment(two);
    Prompts again = Prompts::point(20, 20);
    again.masks = first[0].logits();
    Masks named = scene.segment_all(boxes);
    made["segment"] = json_of(first);
    made["again"] = json_of(scene.segment(again));
    made["features"] = named.features();
    named.name(names, {{}, 0.2});
    made["segment_all, named"] = json_of(named);
    Finding finding;
    finding.naming = {Strings{"background", "wall"}, 0.1};
    finding.points = 1;
    finding.threshold = 0.4;
    made["find"] = json_of(scene.find(names, finding));
    finding.refine = false;
    made["find, not refined"] = json_of(scene.find(names, finding));
    Grid grid = {};
    grid.points_per_side = 6;
    grid.predicted_iou = 0.3;
    grid.stability = 0.3;
    made["everything"] = json_of(scene.everything(names, {{}, 0.2}, grid));
    for (const Guess& guess : scene.classify(names, {Strings{"wall"}, {}})) {
        made["classify"].push_back({guess.label, guess.score, guess.similarity, guess.share});
    }
    made["image_features"] = scene.image_features();
    again.masks.pop_back();
    made["bad prompts"] = thrown([&] { scene.segment(again); });
    return made;
}

Json of_tasks(const Scene& scene, const Strings& names) {
    Json steps = Json::array();
    Task told([&](const char* what, size_t done, size_t total) {
        steps.push_back({what, done, total});
        return true;
    });
    scene.everything({}, {}, {}, &told);
    Task no([](const char*, size_t, size_t) { return false; });
    Task throws([](const char*, size_t, size_t) -> bool { throw std::runtime_error("enough"); });
    Task cancelled;
    std::thread([&] { cancelled.cancel(); }).join();
    return {{"steps", steps},
            {"no", thrown([&] { scene.everything({}, {}, {}, &no); })},
            {"throws", thrown([&] { scene.everything({}, {}, {}, &throws); })},
            {"cancelled", thrown([&] { scene.find(names, {}, &cancelled); })},
            {"told", {told.cancelled(), no.cancelled(), cancelled.cancelled()}}};
}

}  // namespace

int main(int, char** argv) {
    const std::string bundle = argv[1];
    const int width = std::stoi(argv[2]), height = std::stoi(argv[3]);
    const std::vector<char> rgb(std::istreambuf_iterator<char>(std::cin), {});
    const auto* pixels = reinterpret_cast<const uint8_t*>(rgb.data());
    const Strings names = {"red arrow", "blue square", "dog"};
    // The scene outlives its model here, and the masks of `kept` their scene.
    auto model = std::make_unique<Model>(bundle, "cpu", 1);
    const Image image(SAMCLIP_RGB, pixels, width, height),
        part(SAMCLIP_RGB, pixels, width / 2, height, 3 * static_cast<size_t>(width));
    Json made;
    for (const Size& size : model->sizes()) made["sizes"].push_back({size.width, size.height});
    made["names_size"] = model->names_size().width;
    made["embed"] = model->embed({image, part});
    made["embed_text"] = model->embed_text(names);
    for (const auto& ranked : model->rank({image, part}, "red arrow")) {
        made["rank"].push_back({ranked.first, ranked.second});
    }
    made["nothing"] = {model->embed({}).size(), model->embed_text({}).size(), model->rank({}, "dog").size()};
    made["no bundle"] = thrown([] { Model("nowhere"); });
    made["no size"] = thrown([&] { model->look(image, Size{16, 16}); });
    made["nul"] = thrown([&] { model->embed_text({std::string("a\0b", 3)}); });
    model->prepare(model->sizes()[0]);
    Scene scene = model->look(image);
    model.reset();
    made["photo"] = {scene.photo_size().width, scene.photo_size().height};
    made["scene"] = of_scene(scene, names);
    made["tasks"] = of_tasks(scene, names);
    const Mask kept = Scene(std::move(scene)).segment(Prompts::point(20, 20))[0];
    made["kept"] = kept.logits().size();
    std::cout << made.dump() << std::endl;
}
