// Parts of work in several threads: each is done once, and a fault ends the work.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "parallel.hpp"

TEST_CASE("each part is done once, by no more threads than workers, and what is told rises to below the count") {
    for (const size_t workers : {1u, 2u, 3u, 8u}) {
        for (const size_t count : {0u, 1u, 2u, 7u, 100u}) {
            std::vector<std::atomic<int>> done(count);
            std::vector<size_t> told;
            std::mutex lock;
            std::set<std::thread::id> threads;
            samclip::in_parallel(
                workers, count,
                [&](size_t index) {
                    ++done[index];
                    const std::lock_guard<std::mutex> held(lock);
                    threads.insert(std::this_thread::get_id());
                },
                [&](size_t so_far) { told.push_back(so_far); });
            for (const auto& each : done) CHECK(each == 1);
            CHECK(threads.size() <= workers);
            CHECK(std::is_sorted(told.begin(), told.end()));
            for (const size_t each : told) CHECK(each < count);
            if (workers == 1) CHECK(told.size() == count);
        }
    }
}

TEST_CASE("the first fault is thrown after the others have ended, and no further part begins") {
    for (const size_t workers : {1u, 4u}) {
        std::atomic<size_t> begun{0}, ended{0};
        const auto part = [&](size_t index) {
            ++begun;
            if (index == 3) throw std::runtime_error("the fault");
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            ++ended;
        };
        CHECK_THROWS_WITH(samclip::in_parallel(workers, 10'000, part, [](size_t) {}), "the fault");
        CHECK(begun == ended + 1);
        CHECK(begun < 10'000);
    }
}

TEST_CASE("a fault of what is told ends the work") {
    std::atomic<size_t> begun{0};
    const auto tell = [](size_t so_far) {
        if (so_far >= 5) throw std::runtime_error("stop");
    };
    const auto part = [&](size_t) {
        ++begun;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    CHECK_THROWS_WITH(samclip::in_parallel(2, 10'000, part, tell), "stop");
    CHECK(begun < 10'000);
}
