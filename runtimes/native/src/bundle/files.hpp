// The files of a bundle, mapped and held against the manifest: in a folder, or as parts of other files.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/manifest.hpp"
#include "samclip_edge.h"

namespace samclip {

// Bytes of a file, mapped for reading. Unmapped when the last owner goes.
class Mapping {
public:
    Mapping(const void* base, size_t mapped, const char* data, size_t size)
        : base_(base), mapped_(mapped), data_(data), size_(size) {}
    ~Mapping();
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    const char* data() const { return data_; }
    size_t size() const { return size_; }
    // Let the system take the memory back until the bytes are read again: an engine that maps the file by itself has
    // them once then.
    void forget() const;
    std::string_view view() const { return {data_, size_}; }

private:
    const void* base_;
    size_t mapped_;
    const char* data_;
    size_t size_;
};

// The files of one bundle. May be used from several threads.
class Files {
public:
    // Throws InputError, as `Bundle.open` does, where the folder is none or holds no manifest.
    static std::unique_ptr<Files> in_folder(const std::string& folder);
    // All parts are mapped at once, so the descriptors may be closed afterwards. Throws InputError where manifest.json
    // is missing, for a part that does not lie in its file, or for a path twice.
    static std::unique_ptr<Files> of_descriptors(const samclip_file* files, size_t count);
    ~Files();

    const std::string& given() const;                  // what the user called the bundle, for messages
    const std::string& folder() const;                 // its real path; empty where the files are parts of others
    std::string manifest_text() const;                 // the bytes of manifest.json
    std::string shown(const std::string& path) const;  // a file in messages: its path
    // The bytes of a file, after they were held against the manifest, once. Throws ChecksumError with Python's lines.
    std::shared_ptr<Mapping> checked(const File& file);
    // The paths on disk of a graph's files, if its engine may open all of these by path: each lies in the folder, or in
    // the folder that the first one's link leads to (`Bundle.together`). Else nothing.
    std::optional<std::vector<std::string>> paths(const std::vector<File>& files) const;

private:
    Files();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

// The sha256 of bytes, in hexadecimal.
std::string sha256(const void* data, size_t size);

// A .npy file of float32 (rows,columns) in C order. Throws std::runtime_error saying what is wrong.
std::vector<float> read_npy(std::string_view bytes, size_t& rows, size_t& columns);

}  // namespace samclip
