#include "bundle/files.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <system_error>

#include "error.hpp"
#include "python_repr.hpp"

namespace samclip {
namespace {

const char* const kManifest = "manifest.json";
const char* const kMend = "; copy or export the bundle again";

std::string what_happened(int code) { return std::generic_category().message(code); }

// A file of a bundle that is open for reading.
class Opened {
public:
    explicit Opened(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
    ~Opened() {
        if (descriptor_ >= 0) close(descriptor_);
    }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    int descriptor() const { return descriptor_; }

private:
    int descriptor_;
};

// A path as Python's pathlib writes it: without doubled slashes and points.
std::string tidy(const std::string& path) {
    const size_t slashes = std::min(path.find_first_not_of('/'), path.size());
    std::string found(slashes == 2 ? 2 : std::min<size_t>(slashes, 1), '/');  // two are a root of their own
    bool first = true;
    for (size_t at = 0; at < path.size();) {
        const size_t end = std::min(path.find('/', at), path.size());
        const std::string part = path.substr(at, end - at);
        if (!part.empty() && part != ".") {
            found += (first ? "" : "/") + part;
            first = false;
        }
        at = end + 1;
    }
    return found.empty() ? "." : found;
}

std::string joined(const std::string& folder, const std::string& path) {
    const std::string place = tidy(folder);
    return tidy(place == "." ? path : place.back() == '/' ? place + path : place + "/" + path);
}

// Where the links of a path lead to; empty where there is nothing.
std::string real_path(const std::string& path) {
    char* const found = path.find('\0') == path.npos ? realpath(path.c_str(), nullptr) : nullptr;
    const std::string copy = found ? found : "";
    std::free(found);
    return copy;
}

// 0 for a regular file, and else what the system says.
int status_of(const std::string& path, struct stat& status) {
    if (path.find('\0') != path.npos) return ENOENT;
    return stat(path.c_str(), &status) == 0 ? 0 : errno;
}

bool says_missing(int code) { return code == ENOENT || code == ENOTDIR || code == EBADF || code == ELOOP; }

// Map a part of an open file. Throws std::system_error.
std::shared_ptr<Mapping> map(int descriptor, int64_t offset, size_t size) {
    if (size == 0) return std::make_shared<Mapping>(nullptr, 0, "", 0);
    const auto before = static_cast<size_t>(offset % sysconf(_SC_PAGESIZE));
    const size_t mapped = before + size;
    if (mapped < size) throw std::system_error(ENOMEM, std::generic_category());
    const off_t start = static_cast<off_t>(offset - static_cast<int64_t>(before));
    void* const base = mmap(nullptr, mapped, PROT_READ, MAP_PRIVATE, descriptor, start);
    if (base == MAP_FAILED) throw std::system_error(errno, std::generic_category());
    try {
        return std::make_shared<Mapping>(base, mapped, static_cast<const char*>(base) + before, size);
    } catch (const std::bad_alloc&) {
        munmap(base, mapped);
        throw;
    }
}

std::string read_whole(const std::string& path) {
    const Opened file(path);
    std::string content;
    char block[1 << 16];
    while (file.descriptor() >= 0) {
        const ssize_t count = read(file.descriptor(), block, sizeof block);
        if (count == 0) return content;
        if (count > 0) content.append(block, static_cast<size_t>(count));
        else if (errno != EINTR) break;
    }
    throw std::system_error(errno, std::generic_category());
}

bool lies_in(const std::string& path, const std::string& folder) {
    const std::string beginning = folder == "/" ? folder : folder + "/";
    return path.compare(0, beginning.size(), beginning) == 0;
}

std::string parent(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == 0 || slash == path.npos ? "/" : path.substr(0, slash);
}

}  // namespace

void Mapping::forget() const {
    if (mapped_ != 0) madvise(const_cast<void*>(base_), mapped_, MADV_DONTNEED);
}

Mapping::~Mapping() {
    if (mapped_ > 0) munmap(const_cast<void*>(base_), mapped_);
}

struct Files::Impl {
    // A file that was asked for, with its sha256 once that is known. Its own lock: files are hashed side by side.
    struct Entry {
        std::mutex lock;
        std::shared_ptr<Mapping> mapping;
        std::string sha256;
    };

    std::string given;
    std::string folder;                                     // its real path; empty where the files are parts of others
    std::map<std::string, std::shared_ptr<Mapping>> parts;  // by path
    std::mutex lock;                                        // of `entries`
    std::map<std::string, std::shared_ptr<Entry>> entries;  // by path

    std::shared_ptr<Entry> entry(const std::string& path) {
        const std::lock_guard<std::mutex> held(lock);
        std::shared_ptr<Entry>& found = entries[path];
        if (!found) found = std::make_shared<Entry>();
        return found;
    }
    // The mapped bytes of a file, as many as the manifest says. shown: the file in messages.
    std::shared_ptr<Mapping> mapped(const File& file, const std::string& shown) const;
};

std::shared_ptr<Mapping> Files::Impl::mapped(const File& file, const std::string& shown) const {
    const auto same_size = [&](int64_t bytes) {
        if (bytes == file.bytes) return;
        const std::string wanted = std::to_string(file.bytes);
        throw ChecksumError(shown + ": " + std::to_string(bytes) + " bytes where the manifest says " + wanted + kMend);
    };
    if (folder.empty()) {
        const auto part = parts.find(file.path);
        if (part == parts.end()) throw ChecksumError(shown + ": missing from the bundle" + kMend);
        same_size(static_cast<int64_t>(part->second->size()));
        return part->second;
    }
    struct stat status {};
    const int code = status_of(shown, status);
    if (says_missing(code) || (code == 0 && !S_ISREG(status.st_mode))) {
        throw ChecksumError(shown + ": missing from the bundle" + kMend);
    }
    try {
        if (code != 0) throw std::system_error(code, std::generic_category());
        same_size(status.st_size);
        const Opened opened(shown);
        if (opened.descriptor() < 0 || fstat(opened.descriptor(), &status) != 0) {
            throw std::system_error(errno, std::generic_category());
        }
        same_size(status.st_size);  // of the file that was opened
        return map(opened.descriptor(), 0, static_cast<size_t>(status.st_size));
    } catch (const std::system_error& error) {
        throw ChecksumError(shown + ": cannot be read (" + what_happened(error.code().value()) + ")" + kMend);
    }
}

Files::Files() : impl_(std::make_unique<Impl>()) {}
Files::~Files() = default;

std::unique_ptr<Files> Files::in_folder(const std::string& folder) {
    const char* const wrote = "pass the folder that `samclip-edge export` wrote";
    struct stat status {};
    const std::string place = tidy(folder);
    const int code = status_of(place, status);
    if (code == 0 && S_ISREG(status.st_mode)) throw InputError(folder + ": is a file; " + wrote);
    if (code != 0 || !S_ISDIR(status.st_mode)) {
        throw InputError(folder + ": no such bundle folder; make one with `samclip-edge export`");
    }
    std::unique_ptr<Files> files(new Files);
    files->impl_->given = folder;
    files->impl_->folder = real_path(place);
    if (status_of(joined(place, kManifest), status) != 0 || !S_ISREG(status.st_mode)) {
        throw InputError(folder + ": holds no " + kManifest + "; " + wrote);
    }
    return files;
}

std::unique_ptr<Files> Files::of_descriptors(const samclip_file* given, size_t count) {
    std::unique_ptr<Files> files(new Files);
    files->impl_->given = "files";
    const auto refuse = [](const std::string& path, const std::string& reason) {
        throw InputError("files: " + python_repr(path) + " " + reason);
    };
    for (size_t i = 0; i < count; ++i) {
        const samclip_file& each = given[i];
        if (each.path == nullptr) throw InputError("files: one has no path; give each its path in the bundle");
        const std::string path = each.path;
        if (files->impl_->parts.count(path) != 0) refuse(path, "stands there twice; give each file once");
        struct stat status {};
        if (fstat(each.descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
            refuse(path, "has a descriptor of no file; open the file that holds it");
        }
        if (each.offset < 0 || each.length < 0 || each.offset > status.st_size ||
            each.length > status.st_size - each.offset || static_cast<uint64_t>(each.length) > SIZE_MAX) {
            refuse(path, "does not lie in the file of its descriptor; check offset and length");
        }
        try {
            files->impl_->parts[path] = map(each.descriptor, each.offset, static_cast<size_t>(each.length));
        } catch (const std::system_error& error) {
            refuse(path, "cannot be read (" + what_happened(error.code().value()) + ")");
        }
    }
    if (files->impl_->parts.count(kManifest) == 0) {
        throw InputError(std::string("files: no ") + kManifest + " among them; pass every file of the bundle");
    }
    return files;
}

const std::string& Files::given() const { return impl_->given; }

const std::string& Files::folder() const { return impl_->folder; }

std::string Files::manifest_text() const {
    if (impl_->folder.empty()) return std::string(impl_->parts.at(kManifest)->view());
    try {
        return read_whole(joined(impl_->folder, kManifest));
    } catch (const std::system_error& error) {
        const std::string reason = what_happened(error.code().value());
        throw InputError(shown(kManifest) + ": not a manifest (" + reason + "); export the bundle again");
    }
}

std::string Files::shown(const std::string& path) const {
    if (impl_->folder.empty()) return path;
    return joined(path == kManifest ? impl_->given : impl_->folder, path);  // as Python's `Bundle` does
}

std::shared_ptr<Mapping> Files::checked(const File& file) {
    const std::string name = shown(file.path);
    const std::shared_ptr<Impl::Entry> entry = impl_->entry(file.path);
    const std::lock_guard<std::mutex> held(entry->lock);
    const bool known = entry->mapping && static_cast<int64_t>(entry->mapping->size()) == file.bytes;
    const std::shared_ptr<Mapping> mapping = known ? entry->mapping : impl_->mapped(file, name);
    std::string found = known ? entry->sha256 : sha256(mapping->data(), mapping->size());
    if (!known) mapping->forget();
    if (found != file.sha256) throw ChecksumError(name + ": its sha256 is not the manifest's" + kMend);
    entry->sha256 = std::move(found);
    entry->mapping = mapping;  // only of a good file, so that a mended one is looked at again
    return mapping;
}

std::optional<std::vector<std::string>> Files::paths(const std::vector<File>& files) const {
    if (impl_->folder.empty() || files.empty()) return {};
    std::vector<std::string> own, real;
    for (const File& file : files) {
        own.push_back(joined(impl_->folder, file.path));
        real.push_back(real_path(own.back()));
    }
    for (const std::string& place : {impl_->folder, parent(real[0])}) {
        bool all = true;
        for (const std::string& path : real) all = all && lies_in(path, place);
        if (all) return own;
    }
    return {};
}

}  // namespace samclip
