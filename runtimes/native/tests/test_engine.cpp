// The pipeline over an engine that an app hands in: what crosses between it and the host, and what happens when it
// fails.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <new>
#include <string>
#include <vector>

#include "fake_engine.hpp"
#include "small_bundle.hpp"

namespace {

const char* const kWords[] = {"dog", "cat"};
const samclip_names kNames = {kWords, 2};

std::vector<uint8_t> photo_bytes() { return std::vector<uint8_t>(64 * 48 * 3, 90); }

// A bundle over an engine, and a photo.
struct Opened {
    explicit Opened(const FakeEngine& engine) {
        static const SmallBundle bundle(SAMCLIP_EDGE_BUNDLE);
        samclip_options options = {};
        options.engine = engine.table();
        REQUIRE(samclip_load(bundle.folder().c_str(), &options, &model) == SAMCLIP_OK);
    }
    ~Opened() {
        samclip_free_scene(scene);
        samclip_free_model(model);
    }
    samclip_status look() {
        const samclip_image image = samclip_packed(SAMCLIP_RGB, pixels.data(), 64, 48);
        const samclip_size size = {256, 256};
        return samclip_look(model, &image, &size, nullptr, &scene);
    }
    samclip_status click(samclip_masks** masks) {
        const double point[] = {20, 20};
        samclip_prompts prompts = {};
        prompts.prompts = prompts.points_each = 1;
        prompts.points = point;
        return samclip_segment(scene, &prompts, nullptr, masks);
    }

    const std::vector<uint8_t> pixels = photo_bytes();
    samclip_model* model = nullptr;
    samclip_scene* scene = nullptr;
};

// Everything that a scene can be asked, until something fails.
samclip_status ask_all(Opened& opened) {
    samclip_masks* masks = nullptr;
    samclip_guesses* guesses = nullptr;
    samclip_status status = opened.look();
    if (!status) status = opened.click(&masks);
    if (!status) status = samclip_name(masks, kNames, nullptr, nullptr);
    samclip_free_masks(masks);
    if (!status) status = samclip_classify(opened.scene, kNames, nullptr, nullptr, &guesses);
    samclip_free_guesses(guesses);
    samclip_grid grid = {};
    grid.points_per_side = 4;
    if (!status) status = samclip_everything(opened.scene, kNames, nullptr, &grid, nullptr, &masks);
    if (!status) samclip_free_masks(masks);
    samclip_finding how = {};
    const samclip_naming naming = {0, nullptr, 0, 1};
    how.naming = &naming;
    if (!status) status = samclip_find(opened.scene, kNames, &how, nullptr, &masks);
    if (!status) samclip_free_masks(masks);
    return status;
}

// Of memory that cannot be had: the allocation that fails, counted from now on, in this thread; -1: none.
thread_local long long fail_allocation = -1;

}  // namespace

// Not inlined: g++ would see `free` of what it knows came from `new`, and warn.
__attribute__((noinline)) void* operator new(size_t bytes) {
    if (fail_allocation >= 0 && fail_allocation-- == 0) throw std::bad_alloc();
    void* memory = std::malloc(bytes == 0 ? 1 : bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {  // which a sanitizer has of its own
    try {
        return operator new(bytes);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}
__attribute__((noinline)) void operator delete(void* memory) noexcept { std::free(memory); }
__attribute__((noinline)) void operator delete(void* memory, size_t) noexcept { std::free(memory); }

TEST_CASE("what one graph gives goes into the next without passing through the host") {
    FakeEngine engine;
    Opened opened(engine);
    REQUIRE(opened.look() == SAMCLIP_OK);
    CHECK(engine.calls.filled == std::map<std::string, int>{{"image_encoder", 1}});
    CHECK(engine.calls.read.empty());

    samclip_masks* masks = nullptr;
    REQUIRE(opened.click(&masks) == SAMCLIP_OK);
    samclip_mask mask;
    REQUIRE(samclip_mask_at(masks, 0, &mask) == SAMCLIP_OK);
    samclip_free_masks(masks);
    CHECK(engine.calls.filled == std::map<std::string, int>{{"image_encoder", 1}, {"prompt_encoder", 4}});
    CHECK(engine.calls.read == std::map<std::string, int>{{"masks", 1}, {"scores", 1}});

    samclip_guesses* guesses = nullptr;
    REQUIRE(samclip_classify(opened.scene, kNames, nullptr, nullptr, &guesses) == SAMCLIP_OK);
    samclip_free_guesses(guesses);
    CHECK(engine.calls.filled["clip_head"] == 0);
    CHECK(engine.calls.filled["mask_decoder"] == 0);
    CHECK(engine.calls.read["tokens"] + engine.calls.read["embedding"] == 0);
    CHECK(engine.calls.read["sparse"] + engine.calls.read["dense"] == 0);
    CHECK(engine.calls.read["image_features"] == 1);
}

TEST_CASE("a click is answered by the mask that the engine gives, over the photo's pixels") {
    FakeEngine engine;
    Opened opened(engine);
    REQUIRE(opened.look() == SAMCLIP_OK);
    samclip_masks* masks = nullptr;
    REQUIRE(opened.click(&masks) == SAMCLIP_OK);
    samclip_mask mask;
    REQUIRE(samclip_mask_at(masks, 0, &mask) == SAMCLIP_OK);
    // Low-res cells 4 to 12 and 8 to 16 of 64 are model pixels 16 to 48 and 32 to 64 of 256, a quarter of which are
    // photo pixels.
    CHECK(mask.width == 64);
    CHECK(mask.height == 48);
    CHECK(mask.box[0] == 4);
    CHECK(mask.box[1] == 8);
    CHECK(mask.box[2] == 12);
    CHECK(mask.box[3] == 16);
    CHECK(mask.area == 64);
    CHECK(mask.predicted_iou == doctest::Approx(0.98));  // of the three masks of an ambiguous click the best
    CHECK(mask.label == nullptr);
    CHECK(std::isnan(mask.score));
    samclip_free_masks(masks);
}

TEST_CASE("a function of the engine that fails is a status with its line, and the next question is answered") {
    int failed = 0;
    for (bool over = false; !over; ++failed) {
        FakeEngine engine;
        {
            Opened opened(engine);
            engine.status = failed % 2 == 0 ? SAMCLIP_ENGINE : SAMCLIP_MEMORY;
            engine.fail_at = failed;
            const samclip_status got = ask_all(opened);
            over = got == SAMCLIP_OK;
            if (!over) {
                CHECK(got == engine.status);
                CHECK(samclip_error() == std::string("the fake engine fails"));
                engine.fail_at = -1;
                samclip_free_scene(opened.scene);
                opened.scene = nullptr;
                CHECK(ask_all(opened) == SAMCLIP_OK);
            }
        }
        CHECK(engine.calls.live == 0);
    }
    CHECK(failed > 60);
}

TEST_CASE("memory that cannot be had is a status, and nothing is lost") {
    const FakeEngine engine;  // which does not count here: its own memory fails too
    Opened warm(engine);
    REQUIRE(ask_all(warm) == SAMCLIP_OK);
    int failed = 0;
    for (long long at = 0;; at = at < 100 ? at + 1 : at + at / 12) {
        Opened opened(engine);
        fail_allocation = at;
        samclip_status status = SAMCLIP_OK;
        try {
            status = ask_all(opened);
        } catch (const std::bad_alloc&) {
            FAIL("an exception left the library");
        }
        const bool over = fail_allocation >= 0;
        fail_allocation = -1;
        if (over) break;
        if (status != SAMCLIP_OK) {
            ++failed;
            CHECK(status == SAMCLIP_MEMORY);
            samclip_free_scene(opened.scene);
            opened.scene = nullptr;
            INFO(at);
            CHECK_MESSAGE(ask_all(opened) == SAMCLIP_OK, samclip_error());
        }
    }
    CHECK(failed > 140);
}

TEST_CASE("a task that is cancelled ends its calls, and others go on") {
    FakeEngine engine;
    Opened opened(engine);
    REQUIRE(opened.look() == SAMCLIP_OK);
    std::vector<std::string> told;
    const auto progress = [](void* context, const char* what, size_t done, size_t total) {
        auto& list = *static_cast<std::vector<std::string>*>(context);
        list.push_back(std::string(what) + " " + std::to_string(done) + " of " + std::to_string(total));
        return list.size() == 3 ? 1 : 0;
    };
    samclip_task* task = nullptr;
    REQUIRE(samclip_make_task(progress, &told, &task) == SAMCLIP_OK);
    samclip_masks* masks = nullptr;
    samclip_grid grid = {};
    CHECK(samclip_everything(opened.scene, {nullptr, 0}, nullptr, &grid, task, &masks) == SAMCLIP_CANCELLED);
    CHECK(masks == nullptr);
    CHECK(samclip_error() == std::string("the call was cancelled"));
    CHECK(told == std::vector<std::string>{"clicking everywhere 0 of 64", "clicking everywhere 1 of 64",
                                           "clicking everywhere 2 of 64"});
    CHECK(samclip_cancelled(task) == 1);
    CHECK(samclip_everything(opened.scene, {nullptr, 0}, nullptr, &grid, task, &masks) == SAMCLIP_CANCELLED);
    samclip_free_task(task);
    CHECK(samclip_everything(opened.scene, {nullptr, 0}, nullptr, &grid, nullptr, &masks) == SAMCLIP_OK);
    samclip_free_masks(masks);
}

TEST_CASE("an output that is not what the manifest says is told, and never read") {
    const std::vector<std::function<void(samclip_layout&)>> wrong = {
        [](samclip_layout& layout) { layout.type = SAMCLIP_INT32; },
        [](samclip_layout& layout) { layout.dimensions -= 1; },
        [](samclip_layout& layout) { layout.shape[layout.dimensions - 1] += 1; },
        [](samclip_layout& layout) { layout.shape[0] = 0; },
        [](samclip_layout& layout) { layout.shape[0] = -1; },
        [](samclip_layout& layout) { layout.dimensions = 99; },
    };
    for (const std::string output : {"image_features", "masks", "scores", "text_features", "patch_features"}) {
        for (const auto& change : wrong) {
            FakeEngine engine;
            Opened opened(engine);
            engine.twist = [&](const std::string& name, samclip_layout& layout) {
                if (name == output) change(layout);
            };
            CHECK(ask_all(opened) == SAMCLIP_ENGINE);
            CHECK(engine.calls.read[output] == 0);
        }
    }
}

TEST_CASE("a table that lacks a function is refused") {
    const FakeEngine engine;
    samclip_engine table = *engine.table();
    table.layout = nullptr;
    samclip_options options = {};
    options.engine = &table;
    samclip_model* model = nullptr;
    CHECK(samclip_load(SAMCLIP_EDGE_BUNDLE, &options, &model) == SAMCLIP_INPUT);
    CHECK(samclip_error() == std::string("engine: its table lacks a function; set them all"));
}

TEST_CASE("a progress function may ask the model that it is told of") {
    const FakeEngine engine;
    Opened opened(engine);
    REQUIRE(opened.look() == SAMCLIP_OK);
    struct Asked {
        samclip_scene* scene;
        int answered = 0;
    } asked{opened.scene};
    const auto progress = [](void* context, const char*, size_t, size_t) {
        auto& own = *static_cast<Asked*>(context);
        samclip_guesses* guesses = nullptr;
        own.answered += samclip_classify(own.scene, kNames, nullptr, nullptr, &guesses) == SAMCLIP_OK;
        samclip_free_guesses(guesses);
        return 0;
    };
    samclip_task* task = nullptr;
    REQUIRE(samclip_make_task(progress, &asked, &task) == SAMCLIP_OK);
    samclip_guesses* guesses = nullptr;
    CHECK(samclip_classify(opened.scene, kNames, nullptr, task, &guesses) == SAMCLIP_OK);
    CHECK(asked.answered >= 2);
    samclip_free_guesses(guesses);
    samclip_cancel(task);
    CHECK(samclip_classify(opened.scene, kNames, nullptr, task, &guesses) == SAMCLIP_CANCELLED);
    samclip_free_task(task);
}

TEST_CASE("names without a list are refused") {
    const FakeEngine engine;
    Opened opened(engine);
    std::vector<float> features(samclip_features(opened.model));
    CHECK(samclip_embed_text(opened.model, {nullptr, 1}, nullptr, features.data()) == SAMCLIP_INPUT);
    samclip_guesses* guesses = nullptr;
    REQUIRE(opened.look() == SAMCLIP_OK);
    CHECK(samclip_classify(opened.scene, {nullptr, 1}, nullptr, nullptr, &guesses) == SAMCLIP_INPUT);
    CHECK(guesses == nullptr);
}
