// The engine for TensorRT refuses in a line what it cannot run, and says how to mend it. The lines are those of
// `runtimes/tensorrt/session.py` and `cuda.py`.
#include <doctest/doctest.h>

#include "room.hpp"

using nlohmann::json;
using stand_in::gpu;

namespace {

const char kMemory[] = "CUDA: cudaMalloc failed (cudaErrorMemoryAllocation); free memory on the GPU, or start again";

size_t used() {
    size_t bytes = 0;
    for (const auto& block : gpu().blocks) bytes += block.second;
    return bytes;
}

// A bundle whose manifest is changed says this when a photo is looked at.
void refuses(const Room& room, const std::string& line) {
    const Model model = room.load();
    CHECK(try_look(model) == SAMCLIP_INPUT);
    CHECK(samclip_error() == line);
}

}  // namespace

TEST_CASE("more points than the engine takes are refused, and the engine goes on") {
    const Room room;
    const Model model = room.load();
    const Scene scene = look(model);
    CHECK(try_points(scene, 40) == SAMCLIP_INPUT);
    CHECK(samclip_error() == room.engine("prompt_encoder_256") +
                                 ": takes points of (1, 0, 2) to (64, 32, 2), not (1, 41, 2); give less at once");
    CHECK(click(scene).size() == 1);
    CHECK(in_boxes(scene, some_boxes(70)).size() == 70);  // which the pipeline asks for in several calls
}

TEST_CASE("what was refused leaves no shape behind") {
    const Room room;
    room.write_engine("prompt_encoder_256", "stand-in of an engine\nonnx " + room.folder() +
                                                "/prompt_encoder_256.onnx\n" +
                                                "points 1x0x2 64x32x2\nlabels 1x0 64x5\nmask 1x1x64x64 64x1x64x64\n");
    const Model model = room.load();
    const Scene scene = look(model);
    const double wanted = click(scene)[0].predicted_iou;
    CHECK(try_points(scene, 5) == SAMCLIP_INPUT);  // by the labels, after the points were taken
    CHECK(click(scene)[0].predicted_iou == wanted);
}

TEST_CASE("engines of another machine are refused") {
    const Room room;
    const std::string folder = room.folder() + ": ";
    const auto made_by = [&](const json& engines) {
        room.change([&](json& manifest) { manifest["engines"].update(engines); });
    };
    made_by({{"capabilities", {"8.9", "12.0"}}});
    refuses(room, folder + "engines for compute capability 8.9, 12.0; this GPU is 8.7; " + room.build());
    gpu().major = 12, gpu().minor = 0;
    CHECK(try_look(room.load()) == SAMCLIP_OK);
    made_by({{"version", "10.7.0"}});
    refuses(room, folder + "engines of tensorrt 10.7.0; here is 10.3.0; " + room.build());
    made_by({{"portable", true}});
    CHECK(try_look(room.load()) == SAMCLIP_OK);
    made_by({{"portable", false}, {"version", "10.3.0.30"}});  // of which the fourth number is TensorRT's own to heed
    CHECK(try_look(room.load()) == SAMCLIP_OK);
    made_by({{"builder", "tensorrt_rtx"}, {"version", "1.4.0"}});
    refuses(room, folder + "engines of tensorrt_rtx 1.4.0; here is tensorrt 10.3.0; " + room.build());
}

TEST_CASE("a bundle without engines says how to build them") {
    const Room room;
    room.change([](json& manifest) {
        manifest["engines"] = nullptr;
        for (json& graph : manifest["graphs"]) graph["engine"] = nullptr;
    });
    refuses(room, room.folder() + ": has no engines yet; " + room.build());
}

TEST_CASE("without a GPU it says so") {
    const Room room;
    gpu().count = 0;
    refuses(room,
            "TensorRT: no NVIDIA GPU here; `samclip-edge verify` and `eval` run the bundle's ONNX, and one for target "
            "onnx runs here");
}

TEST_CASE("another device is refused") {
    const Room room;
    samclip_options options = {};
    options.size = sizeof options;
    options.device = "cuda";
    samclip_model* model = nullptr;
    CHECK(samclip_load(room.folder().c_str(), &options, &model) == SAMCLIP_INPUT);
    CHECK(samclip_error() == "device cuda: " + room.folder() +
                                 " is for target tensorrt; leave the device out, or export the bundle for target onnx");
}

TEST_CASE("a wrong engine is refused") {
    const Room room;
    const std::string path = room.engine("image_encoder_256");
    room.write_engine("image_encoder_256", "not an engine");
    refuses(room, path +
                      ": tensorrt refuses it (Error Code 1: Serialization (magicTag does not match)); build it again: "
                      "sh build.sh");
    room.write_engine("image_encoder_256", "stand-in of an engine\nonnx " + room.folder() + "/clip_head_256.onnx\n");
    refuses(room, path + ": its image is not as the manifest says; build it again: sh build.sh");
    room.write_engine("image_encoder_256", "stand-in of an engine\n");  // without weights, which nobody says
    refuses(room, path + ": its image is not as the manifest says; build it again: sh build.sh");
}

TEST_CASE("weights that do not fit are refused") {
    const Room room;
    room.change([](json& manifest) { manifest["engines"]["stripped"] = true; });
    gpu().weights_fit = false;
    refuses(room, room.engine("image_encoder_256") +
                      ": its weights do not fit (Error Code 3: the weights are of another graph); build it again: sh "
                      "build.sh");
}

TEST_CASE("an engine that was changed is refused by its sha256") {
    const Room room;
    room.change([](json& manifest) {
        for (json& graph : manifest["graphs"]) graph["engine"]["sha256"] = std::string(64, '0');
    });
    const Model model = room.load();
    CHECK(try_look(model) == SAMCLIP_CHECKSUM);
    CHECK(samclip_error() ==
          room.engine("image_encoder_256") + ": its sha256 is not the manifest's; copy or export the bundle again");
}

TEST_CASE("an engine that does not run says why, and goes on afterwards") {
    const Room room;
    const Model model = room.load();
    for (const std::string why : {"Error Code 1: Cuda Runtime (out of memory)", "Error Code 2: another"}) {
        gpu().why_not = why;  // the second time while it is captured
        CHECK(try_look(model) == SAMCLIP_ENGINE);
        CHECK(samclip_error() ==
              room.engine("image_encoder_256") + ": did not run (" + why + "); free memory on the GPU");
        gpu().why_not.clear();
        CHECK(try_look(model) == SAMCLIP_OK);
    }
    CHECK(try_look(model) == SAMCLIP_OK);
}

TEST_CASE("what fails while it runs is told") {
    const Room room;
    const Model model = room.load();
    const Scene scene = look(model);
    const double wanted = click(scene)[0].predicted_iou;
    gpu().breaks = true;
    CHECK(try_points(scene, 1) == SAMCLIP_ENGINE);
    CHECK(std::string(samclip_error()) ==
          "CUDA: cudaStreamSynchronize failed (cudaErrorIllegalAddress); free memory on the GPU, or start again");
    gpu().breaks = false;
    CHECK(click(scene)[0].predicted_iou == wanted);
}

TEST_CASE("where the GPU's memory is short it says so, and goes on afterwards") {
    const Room room;
    const Model model = room.load();
    gpu().memory = 1000;
    CHECK(try_look(model) == SAMCLIP_MEMORY);
    CHECK(std::string(samclip_error()) == kMemory);
    gpu().memory = size_t(-1);
    const Scene scene = look(model);
    const double wanted = click(scene)[0].predicted_iou;
    for (size_t spared = 0; spared < 20; ++spared) {  // each time it fails in another place
        gpu().memory = used() + (size_t{1024} << spared);
        const samclip_status status = try_boxes(scene, some_boxes(60));
        CHECK((status == SAMCLIP_OK || (status == SAMCLIP_MEMORY && samclip_error() == std::string(kMemory))));
        CHECK((spared > 0 || status == SAMCLIP_MEMORY));
        gpu().memory = size_t(-1);
        CHECK(click(scene)[0].predicted_iou == wanted);
    }
}

TEST_CASE("blocks that nobody needs make way for others") {
    const Room room;
    const Model model = room.load();
    Scene scene = look(model), other = look(model, 1), third = look(model, 1);
    in_boxes(scene, some_boxes(64));
    other.reset();
    third.reset();
    gpu().memory = used();
    CHECK(try_boxes(scene, some_boxes(5)) == SAMCLIP_OK);
}
