// What the handles of the C interface hold, and how exceptions become a status.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include "encoded.hpp"
#include "error.hpp"
#include "tasks/tasks.hpp"
#include "text/judge.hpp"
#include "text/words.hpp"

namespace samclip {

// A loaded bundle.
struct Model {
    explicit Model(std::shared_ptr<Sessions> opened)
        : sessions(std::move(opened)), words(*sessions), judge(words, *sessions) {}
    // One of the bundle's sizes; nullptr: the largest, or the one for names. Throws InputError for any other.
    Size size_of(const samclip_size* given, bool for_names = false) const;

    const std::shared_ptr<Sessions> sessions;
    Words words;
    Judge judge;
};

// A photo that was looked at.
struct Scene {
    Scene(std::shared_ptr<Model> by, const Picture& picture, const Size& size, samclip_task* task)
        : model(std::move(by)), encoded(model->sessions, picture, size, task) {}

    const std::shared_ptr<Model> model;
    Encoded encoded;
};

// Remember a line as this thread's last error.
samclip_status remember(samclip_status status, const char* line) noexcept;

// Call a function of the interface: what it throws becomes a status.
template <typename Function>
samclip_status guarded(Function function) noexcept {
    try {
        function();
        return SAMCLIP_OK;
    } catch (const Error& error) {
        return remember(error.status(), error.what());
    } catch (const std::bad_alloc&) {
        return remember(SAMCLIP_MEMORY, "there is not enough memory; free some, or ask for less at once");
    } catch (const std::length_error&) {
        return remember(SAMCLIP_MEMORY, "there is not enough memory; free some, or ask for less at once");
    } catch (const std::system_error& error) {  // of threads
        return remember(SAMCLIP_MEMORY, error.what());
    } catch (const std::exception& error) {
        return remember(SAMCLIP_FAULT, error.what());
    } catch (...) {
        return remember(SAMCLIP_FAULT, "something failed that does not say what it is");
    }
}

// The bytes of a structure in version 0.1: to the end of the last field that it had.
constexpr size_t first_size(const samclip_options*) { return offsetof(samclip_options, engine) + sizeof(void*); }
constexpr size_t first_size(const samclip_image*) { return offsetof(samclip_image, mirror) + sizeof(int); }
constexpr size_t first_size(const samclip_naming*) { return offsetof(samclip_naming, has_min_score) + sizeof(int); }
constexpr size_t first_size(const samclip_prompts*) { return offsetof(samclip_prompts, masks) + sizeof(void*); }
constexpr size_t first_size(const samclip_grid*) { return offsetof(samclip_grid, overlap) + sizeof(double); }
constexpr size_t first_size(const samclip_finding*) { return offsetof(samclip_finding, grid) + sizeof(void*); }

// A structure of the caller's, which may be of an older version and so shorter. nullptr: all zeros.
template <typename Structure>
Structure taken(const Structure* given) {
    Structure made;
    std::memset(static_cast<void*>(&made), 0, sizeof made);
    if (given == nullptr) return made;
    const size_t size = given->size == 0 ? first_size(given) : std::min(given->size, sizeof made);
    std::memcpy(static_cast<void*>(&made), given, size);
    return made;
}

// Throw InputError where a pointer that is needed is null.
template <typename Pointer>
void need(Pointer* pointer, const char* what) {
    if (pointer == nullptr) throw InputError(std::string(what) + ": is NULL; pass one");
}

}  // namespace samclip

struct samclip_model {
    std::shared_ptr<samclip::Model> held;
};

struct samclip_scene {
    std::shared_ptr<samclip::Scene> held;
};

struct samclip_masks {
    samclip_masks(std::shared_ptr<samclip::Scene> of, samclip::Masks found)
        : scene(std::move(of)), masks(std::move(found)) {
        for (const samclip::Mask& mask : masks) counts.push_back(mask.runs.counts());
    }

    const std::shared_ptr<samclip::Scene> scene;
    samclip::Masks masks;
    std::vector<std::string> counts;  // of COCO's RLE
};

struct samclip_guesses {
    std::vector<samclip::Guess> held;
};
