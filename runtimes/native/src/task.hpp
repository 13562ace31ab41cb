// Progress and cancelling of long calls.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <mutex>

#include "error.hpp"

// A task of the C interface.
struct samclip_task {
    samclip_task(samclip_progress function, void* with) : progress(function), context(with) {}

    // Tell how far it is. Throws when cancelled, also by what the function answers.
    void tell(const char* what, size_t done, size_t total);
    void cancel();

    const samclip_progress progress;
    void* const context;
    std::atomic<bool> cancelled{false};

private:
    friend class samclip_on_cancel;
    std::mutex lock_;
    std::list<std::function<void()>> on_cancel_;
};

// While it lives, `cancel` of the task calls a function: an engine's way to end a run.
class samclip_on_cancel {
public:
    samclip_on_cancel(samclip_task* task, std::function<void()> function);
    ~samclip_on_cancel();
    samclip_on_cancel(const samclip_on_cancel&) = delete;
    samclip_on_cancel& operator=(const samclip_on_cancel&) = delete;

private:
    samclip_task* const task_;
    std::list<std::function<void()>>::iterator place_;
};

namespace samclip {

// Throw where a task is cancelled. task: nullptr is not.
void check_going(const samclip_task* task);

// The steps of one long call, each told before it begins. task: nullptr tells nobody.
class Steps {
public:
    Steps(samclip_task* task, const char* what, size_t total) : task_(task), what_(what), total_(total) {}
    void next();  // before a step
    void end();   // after the last
private:
    samclip_task* const task_;
    const char* const what_;
    const size_t total_;
    size_t done_ = 0;
};

}  // namespace samclip
