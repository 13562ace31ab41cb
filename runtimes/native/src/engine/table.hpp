// How a table of functions tells what went wrong: exceptions become a status and its line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <new>
#include <string>
#include <vector>

#include "error.hpp"
#include "python_repr.hpp"
#include "samclip_edge_engine.h"

namespace samclip {

inline samclip_status failed(samclip_error_text* error, samclip_status status, const std::string& line) {
    size_t end = std::min(line.size(), sizeof error->line - 1);
    while (end < line.size() && end > 0 && (static_cast<unsigned char>(line[end]) & 0xC0) == 0x80)
        --end;  // no half letter
    std::snprintf(error->line, sizeof error->line, "%.*s", static_cast<int>(end), line.c_str());
    return status;
}

// Call a function; what it throws becomes a status and its line.
template <typename Function>
samclip_status guarded(samclip_error_text* error, Function function) {
    try {
        function();
        return SAMCLIP_OK;
    } catch (const Error& fault) {
        return failed(error, fault.status(), fault.what());
    } catch (const std::bad_alloc&) {
        return failed(error, SAMCLIP_MEMORY, "there is not enough memory; free some, or ask for less at once");
    } catch (const std::exception& fault) {
        return failed(error, SAMCLIP_ENGINE, one_line(fault.what()));
    }
}

// Tell of a tensor in C order, without a gap, all but where it lies.
inline void lay_out(samclip_layout* layout, samclip_type type, const std::vector<int64_t>& shape) {
    if (shape.size() > SAMCLIP_MOST_DIMENSIONS) throw Error(SAMCLIP_ENGINE, "a tensor has too many dimensions");
    layout->type = type;
    layout->dimensions = shape.size();
    int64_t stride = 1;
    for (size_t k = shape.size(); k-- > 0; stride *= shape[k]) {
        layout->shape[k] = shape[k];
        layout->strides[k] = stride;
    }
}

}  // namespace samclip
