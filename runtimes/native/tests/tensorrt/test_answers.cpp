// The engine for TensorRT, over a stand-in of the GPU, answers as ONNX Runtime does, and keeps its memory and captures.
// As `tests/runtimes/test_tensorrt.py`.
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <thread>

#include "room.hpp"
#include "samclip_edge_tensorrt.h"

using stand_in::gpu;

namespace {

const std::vector<const char*> kNames = {"red ball", "sky", "grass"};

void compare(const Answers& ours, const Answers& theirs) {
    REQUIRE(ours.size() == theirs.size());
    for (size_t k = 0; k < ours.size(); ++k) {
        CHECK(iou(ours[k], theirs[k]) > 0.995);
        CHECK(std::abs(ours[k].predicted_iou - theirs[k].predicted_iou) < 1e-3);
        CHECK(ours[k].label == theirs[k].label);
    }
}

std::set<char*> addresses() {
    std::set<char*> found;
    for (const auto& block : gpu().blocks) found.insert(block.first);
    return found;
}

}  // namespace

TEST_CASE("the pipeline answers as ONNX Runtime does") {
    const Room room;
    const Model on_gpu = room.load(), on_cpu = room.load_onnx();
    for (const int which : {0, 1}) {
        const Scene ours = look(on_gpu, which), theirs = look(on_cpu, which);
        const auto scores = classify(ours, kNames), wanted = classify(theirs, kNames);
        for (size_t k = 0; k < kNames.size(); ++k) CHECK(std::abs(scores[k] - wanted[k]) < 1e-3);
        compare(click(ours), click(theirs));
        compare(in_boxes(ours, {10, 10, 90, 80, 5, 5, 60, 60}), in_boxes(theirs, {10, 10, 90, 80, 5, 5, 60, 60}));
        const Answers found = find(ours, kNames);
        CHECK(found.size() > 0);
        compare(found, find(theirs, kNames));
    }
    CHECK(gpu().launches > 0);
}

TEST_CASE("only photos, prompts, masks and scores cross the bus") {
    const Room room;
    const Model model = room.load();
    const Scene scene = look(model);
    CHECK(gpu().up == 4 * 3 * kSize * kSize);
    CHECK(gpu().down == 0);
    gpu().clear_counts();
    const Answers masks = click(scene);
    CHECK(gpu().up == 4 * (2 * 2 + 2 + kLow * kLow + 1));  // points, labels, a mask, whether to heed it
    CHECK(gpu().down == 4 * (4 * kLow * kLow + 4));        // masks and scores
    gpu().clear_counts();
    compare(click(scene), masks);
    CHECK(gpu().up == 4 * (2 * 2 + 2 + kLow * kLow + 1));
}

TEST_CASE("a scene outlives the next photo") {
    const Room room;
    const Model model = room.load();
    const Scene first = look(model, 0);
    const Answers before = click(first);
    const Scene second = look(model, 1);
    const Answers other = click(second), after = click(first);
    CHECK(after[0].predicted_iou == before[0].predicted_iou);
    CHECK(other[0].predicted_iou != before[0].predicted_iou);
}

TEST_CASE("a scene outlives its model") {
    const Room room;
    Model model = room.load();
    const Scene scene = look(model);
    model.reset();
    CHECK(click(scene).size() == 1);
}

TEST_CASE("a loop allocates no more and replays what it captured") {
    const Room room;
    const Model model = room.load();
    Scene scene = look(model);
    const auto step = [&] {
        scene = look(model);  // as in a loop whose variable holds a scene until the next is there
        return in_boxes(scene, {10, 10, 90, 80})[0].predicted_iou;
    };
    const double wanted = step();
    for (int k = 0; k < 3; ++k) step();
    const std::set<char*> blocks = addresses();
    gpu().clear_counts();
    for (int k = 0; k < 4; ++k) CHECK(step() == wanted);
    CHECK(addresses() == blocks);
    CHECK(gpu().launches == 0);
    CHECK(gpu().captures == 0);
    CHECK(gpu().replays == 4 * 3);  // encoder, prompts, masks
}

TEST_CASE("engines share their workspace, which grows with what is asked") {
    const Room room;
    const Model model = room.load();
    const Scene scene = look(model);
    const double wanted = click(scene)[0].predicted_iou;
    gpu().clear_counts();
    click(scene);
    REQUIRE(gpu().workspaces.size() == 1);
    const size_t few = gpu().blocks.at(static_cast<char*>(*gpu().workspaces.begin()));
    const double many = in_boxes(scene, some_boxes(64))[63].predicted_iou;
    size_t most = 0;
    for (void* each : gpu().workspaces) {
        const auto block = gpu().blocks.find(static_cast<char*>(each));
        if (block != gpu().blocks.end()) most = std::max(most, block->second);  // what was outgrown is given back
    }
    CHECK(most > few);
    for (int k = 0; k < 3; ++k) CHECK(click(scene)[0].predicted_iou == wanted);  // and no capture wants it back
    CHECK(in_boxes(scene, some_boxes(64))[63].predicted_iou == many);
}

TEST_CASE("an engine that cannot say what it needs gets the most") {
    const Room room;
    const double wanted = click(look(room.load()))[0].predicted_iou;
    gpu().knows_its_needs = false;
    CHECK(click(look(room.load()))[0].predicted_iou == wanted);
}

TEST_CASE("threads share a model") {
    const Room room;
    const Model model = room.load();
    const double wanted[] = {click(look(model, 0))[0].predicted_iou, click(look(model, 1))[0].predicted_iou};
    double found[4] = {};
    std::vector<std::thread> threads;
    for (int k = 0; k < 4; ++k) {
        threads.emplace_back([&, k] {
            for (int again = 0; again < 2; ++again) found[k] = click(look(model, k % 2))[0].predicted_iou;
        });
    }
    for (std::thread& each : threads) each.join();
    for (int k = 0; k < 4; ++k) CHECK(found[k] == wanted[k % 2]);
}

TEST_CASE("all work goes on the app's stream") {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    {
        const Room room;
        const double wanted = click(look(room.load()))[0].predicted_iou;
        gpu().clear_counts();
        const samclip_engine* engine = samclip_tensorrt_engine(stream);
        CHECK(click(look(room.load(engine)))[0].predicted_iou == wanted);
        CHECK(gpu().streams == std::set<cudaStream_t>{stream});
        CHECK(samclip_tensorrt_engine(stream) == engine);
    }
    cudaStreamDestroy(stream);
}

TEST_CASE("engines without weights take them from the ONNX graph") {
    const Room room;
    const double wanted = click(look(room.load()))[0].predicted_iou;
    room.write_engine("prompt_encoder_256",
                      "stand-in of an engine\npoints 1x0x2 64x32x2\nlabels 1x0 64x32\nmask 1x1x64x64 64x1x64x64\n");
    room.write_engine("image_encoder_256", "stand-in of an engine\nimage 1x3x256x256 8x3x256x256\n");
    room.write_engine("mask_decoder_256",
                      "stand-in of an engine\nsparse 1x0x256 64x32x256\ndense 1x256x16x16 64x256x16x16\n");
    room.change([](nlohmann::json& manifest) { manifest["engines"]["stripped"] = true; });
    CHECK(click(look(room.load()))[0].predicted_iou == wanted);
}
