#include "parallel.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace samclip {

namespace {

// Threads that are joined when this one leaves, however it does.
struct Joined {
    std::vector<std::thread> threads;
    ~Joined() {
        for (std::thread& each : threads) each.join();
    }
};

}  // namespace

void in_parallel(size_t workers, size_t count, const std::function<void(size_t)>& part,
                 const std::function<void(size_t)>& tell) {
    std::atomic<size_t> next{0}, done{0};
    std::mutex lock;
    std::exception_ptr fault;
    const auto failed = [&] {
        const std::lock_guard<std::mutex> held(lock);
        if (!fault) fault = std::current_exception();
        next = count;  // no further part begins
    };
    const auto work = [&](bool tells) {
        try {
            for (size_t k = next++; k < count; k = next++) {
                if (tells) tell(done);
                part(k);
                ++done;
            }
        } catch (...) {
            failed();
        }
    };
    {
        Joined others;
        try {
            for (size_t k = 1; k < workers && k < count; ++k) others.threads.emplace_back(work, false);
        } catch (...) {  // the system has no more threads: those that there are do the work
        }
        work(true);
    }
    if (fault) std::rethrow_exception(fault);
}

}  // namespace samclip
