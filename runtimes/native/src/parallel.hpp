// Parts of one piece of work, several at once.
#pragma once

#include <cstddef>
#include <functional>

namespace samclip {

// Call `part` for 0 to count - 1, each once, in this thread and in `workers - 1` others. tell: called in this thread
// before each part that it takes, with how many are done by then. Throws what the first one throws that fails, after
// all that had begun have ended.
void in_parallel(size_t workers, size_t count, const std::function<void(size_t)>& part,
                 const std::function<void(size_t)>& tell);

}  // namespace samclip
