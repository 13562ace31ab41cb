#include "task.hpp"

namespace {

[[noreturn]] void stop() { throw samclip::Error(SAMCLIP_CANCELLED, "the call was cancelled"); }

}  // namespace

void samclip_task::tell(const char* what, size_t done, size_t total) {
    if (!cancelled && progress != nullptr && progress(context, what, done, total) != 0) cancel();
    if (cancelled) stop();
}

void samclip_task::cancel() {
    const std::lock_guard<std::mutex> held(lock_);
    cancelled = true;
    for (const auto& function : on_cancel_) function();
}

samclip_on_cancel::samclip_on_cancel(samclip_task* task, std::function<void()> function) : task_(task) {
    if (task_ == nullptr) return;
    const std::lock_guard<std::mutex> held(task_->lock_);
    if (task_->cancelled) stop();
    place_ = task_->on_cancel_.insert(task_->on_cancel_.end(), std::move(function));
}

samclip_on_cancel::~samclip_on_cancel() {
    if (task_ == nullptr) return;
    const std::lock_guard<std::mutex> held(task_->lock_);
    task_->on_cancel_.erase(place_);
}

namespace samclip {

void check_going(const samclip_task* task) {
    if (task != nullptr && task->cancelled) stop();
}

void Steps::next() {
    if (task_ != nullptr) task_->tell(what_, done_, total_);
    ++done_;
}

void Steps::end() {
    if (task_ != nullptr) task_->tell(what_, total_, total_);
}

}  // namespace samclip
