// Errors of this library: thrown inside, and turned into a status and its line at the C interface.
#pragma once

#include <stdexcept>
#include <string>

#include "samclip_edge.h"

namespace samclip {

// An error with its status. The line says what Python's exception says: what is wrong, where, and the mend.
class Error : public std::runtime_error {
public:
    Error(samclip_status status, const std::string& line) : std::runtime_error(line), status_(status) {}
    samclip_status status() const { return status_; }

private:
    samclip_status status_;
};

// Bad input that a user can mend: Python's InputError.
class InputError : public Error {
public:
    explicit InputError(const std::string& line) : Error(SAMCLIP_INPUT, line) {}
};

// A file of a bundle that is not the one that the manifest describes: Python's ChecksumError.
class ChecksumError : public Error {
public:
    explicit ChecksumError(const std::string& line) : Error(SAMCLIP_CHECKSUM, line) {}
};

}  // namespace samclip
