// Several threads over one model and one scene, with ONNX Runtime and the shipped bundle: what they answer, and when
// what is freed. Worth the most with the sanitizer of threads.
#include <doctest/doctest.h>
#include <samclip_edge.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fake_engine.hpp"
#include "small_bundle.hpp"

namespace {

constexpr samclip_size kSize = {256, 256};
constexpr int kWidth = 80, kHeight = 60;
const char* const kWords[] = {"dog", "cat"};
const samclip_names kNames = {kWords, 2};

// A bright square on a dark ground.
samclip_image photo() {
    static const std::vector<uint8_t> pixels = [] {
        std::vector<uint8_t> made(kWidth * kHeight * 3, 40);
        for (size_t y = 15; y < 45; ++y)
            std::fill_n(made.begin() + static_cast<long>(3 * (y * kWidth + 20)), 3 * 30, 220);
        return made;
    }();
    return samclip_packed(SAMCLIP_RGB, pixels.data(), kWidth, kHeight);
}

samclip_model* load() {
    samclip_options options = {};
    options.threads = 1;
    samclip_model* model = nullptr;
    REQUIRE_MESSAGE(samclip_load(SAMCLIP_EDGE_BUNDLE, &options, &model) == SAMCLIP_OK, samclip_error());
    return model;
}

samclip_status look(samclip_model* model, samclip_scene** scene) {
    const samclip_image image = photo();
    return samclip_look(model, &image, &kSize, nullptr, scene);
}

samclip_status click(samclip_scene* scene, samclip_masks** masks) {
    const double point[] = {35, 30};
    samclip_prompts prompts = {};
    prompts.prompts = prompts.points_each = 1;
    prompts.points = point;
    return samclip_segment(scene, &prompts, nullptr, masks);
}

// Masks as a text: what is in them, to the last bit. Frees them.
std::string taken(samclip_masks* masks) {
    std::string text;
    for (size_t k = 0; k < samclip_mask_count(masks); ++k) {
        samclip_mask mask;
        samclip_mask_at(masks, k, &mask);
        char numbers[100];
        std::snprintf(numbers, sizeof numbers, " %a %a %a\n", mask.predicted_iou, mask.score, mask.similarity);
        text += (mask.label == nullptr ? "" : std::string(mask.label) + " ") + mask.rle + numbers;
    }
    samclip_free_masks(masks);
    return text;
}

// Everything that a thread asks of a scene, as a text; or the line of what failed.
std::string answers(samclip_scene* scene) {
    samclip_masks *clicked = nullptr, *found = nullptr;
    samclip_guesses* guesses = nullptr;
    samclip_finding how = {};
    const samclip_naming naming = {0, nullptr, 0, 1};
    how.naming = &naming;  // 0: whatever is asked for is answered
    samclip_status status = click(scene, &clicked);
    if (!status) status = samclip_name(clicked, kNames, &naming, nullptr);
    if (!status) status = samclip_classify(scene, kNames, nullptr, nullptr, &guesses);
    if (!status) status = samclip_find(scene, kNames, &how, nullptr, &found);
    std::string text = status ? samclip_error() : "";
    for (size_t k = 0; k < samclip_guess_count(guesses); ++k) {
        samclip_guess guess;
        samclip_guess_at(guesses, k, &guess);
        char numbers[100];
        std::snprintf(numbers, sizeof numbers, "%s %a %a %a\n", guess.label, guess.score, guess.similarity,
                      guess.share);
        text += numbers;
    }
    samclip_free_guesses(guesses);
    return text + taken(clicked) + taken(found);
}

// Run a function in so many threads, which begin together. thread: from 0 on.
void together(size_t threads, const std::function<void(size_t thread)>& function) {
    std::atomic<size_t> waiting{threads};
    std::vector<std::thread> running;
    for (size_t thread = 0; thread < threads; ++thread) {
        running.emplace_back([&, thread] {
            for (--waiting; waiting != 0;) std::this_thread::yield();
            function(thread);
        });
    }
    for (std::thread& each : running) each.join();
}

// What one thread answers, by itself.
const std::string& alone() {
    static const std::string text = [] {
        samclip_model* model = load();
        samclip_scene* scene = nullptr;
        std::string made = look(model, &scene) ? samclip_error() : answers(scene);
        samclip_free_scene(scene);
        samclip_free_model(model);
        return made;
    }();
    return text;
}

}  // namespace

TEST_CASE("threads that open one model's graphs at once answer as one thread does, and each has its own errors") {
    REQUIRE(std::count(alone().begin(), alone().end(), '\n') == 5);  // a click, two guesses, two names that are found
    samclip_model* model = load();
    std::array<std::string, 3> text, error;
    together(3, [&](size_t thread) {
        samclip_scene* scene = nullptr;
        text[thread] = look(model, &scene) ? samclip_error() : answers(scene);
        const std::string wrong = "thread " + std::to_string(thread) + "\xFF";
        const char* const name = wrong.c_str();
        samclip_guesses* guesses = nullptr;
        samclip_classify(scene, {&name, 1}, nullptr, nullptr, &guesses);
        error[thread] = samclip_error();
        samclip_free_scene(scene);
    });
    samclip_free_model(model);
    for (size_t thread = 0; thread < text.size(); ++thread) {
        CHECK(text[thread] == alone());
        CHECK(error[thread].find("thread " + std::to_string(thread)) != std::string::npos);
    }
}

TEST_CASE("threads that ask one scene answer as one thread does, also while another's call is cancelled") {
    samclip_model* model = load();
    samclip_scene* scene = nullptr;
    REQUIRE(look(model, &scene) == SAMCLIP_OK);
    std::atomic<bool> begun{false};
    samclip_task* task = nullptr;
    const auto progress = [](void* context, const char*, size_t, size_t) {
        *static_cast<std::atomic<bool>*>(context) = true;
        return 0;
    };
    REQUIRE(samclip_make_task(progress, &begun, &task) == SAMCLIP_OK);
    std::array<std::string, 2> text;
    samclip_status cancelled = SAMCLIP_OK;
    std::string why;
    together(4, [&](size_t thread) {
        samclip_masks* masks = nullptr;
        samclip_grid grid = {};
        grid.points_per_side = 256;  // which would last for minutes
        if (thread < 2) {
            text[thread] = answers(scene);
        } else if (thread == 2) {
            cancelled = samclip_everything(scene, {nullptr, 0}, nullptr, &grid, task, &masks);
            why = samclip_error();
            begun = true;  // also where it failed at once
        } else {
            while (!begun) std::this_thread::yield();
            samclip_cancel(task);
        }
    });
    CHECK(cancelled == SAMCLIP_CANCELLED);
    CHECK(why == "the call was cancelled");
    CHECK(text[0] == alone());
    CHECK(text[1] == alone());
    CHECK(answers(scene) == alone());
    samclip_free_task(task);
    samclip_free_scene(scene);
    samclip_free_model(model);
}

TEST_CASE("a model may be freed while a thread still prepares it, and asked while it does") {
    for (int times = 0; times < 3; ++times) {
        samclip_model* model = load();
        CHECK(samclip_prepare(model, &kSize) == SAMCLIP_OK);
        samclip_free_model(model);
    }
    samclip_model* model = load();
    std::array<std::string, 2> text;
    together(2, [&](size_t thread) {
        samclip_scene* scene = nullptr;
        if (samclip_prepare(model, &kSize) || look(model, &scene)) text[thread] = samclip_error();
        else text[thread] = answers(scene);
        samclip_free_scene(scene);
    });
    samclip_free_model(model);
    CHECK(text[0] == alone());
    CHECK(text[1] == alone());
}

TEST_CASE("a model, its scene and its masks are freed in any order, and by any thread") {
    std::array<int, 3> order = {0, 1, 2};
    do {
        samclip_model* model = load();
        samclip_scene* scene = nullptr;
        samclip_masks* masks = nullptr;
        REQUIRE(look(model, &scene) == SAMCLIP_OK);
        REQUIRE(click(scene, &masks) == SAMCLIP_OK);
        std::vector<float> before(samclip_features(model)), after(before.size());
        REQUIRE(samclip_mask_features(masks, nullptr, before.data()) == SAMCLIP_OK);
        for (const int which : order) {
            std::thread([&] {
                if (which == 0) samclip_free_model(model);
                else if (which == 1) samclip_free_scene(scene);
                else samclip_free_masks(masks);
            }).join();
            if (which == 2) masks = nullptr;
            if (masks == nullptr) continue;
            CHECK(samclip_mask_features(masks, nullptr, after.data()) == SAMCLIP_OK);
            CHECK(after == before);
        }
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("what an engine keeps away from the host is read once, whichever threads ask for it") {
    const SmallBundle bundle(SAMCLIP_EDGE_BUNDLE);
    FakeEngine engine;
    samclip_options options = {};
    options.engine = engine.table();
    samclip_model* model = nullptr;
    samclip_scene* scene = nullptr;
    REQUIRE(samclip_load(bundle.folder().c_str(), &options, &model) == SAMCLIP_OK);
    REQUIRE(look(model, &scene) == SAMCLIP_OK);
    std::array<std::string, 4> text;
    together(4, [&](size_t thread) { text[thread] = answers(scene); });
    samclip_free_scene(scene);
    samclip_free_model(model);
    CHECK(engine.calls.read["image_features"] == 1);
    CHECK(engine.calls.read["patch_features"] == 1);
    CHECK(engine.calls.live == 0);
    for (const std::string& each : text) CHECK(each == text[0]);
}
