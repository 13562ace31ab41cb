// The shipped bundle without its weights, for tests whose engine is their own: it opens in a moment.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

// A folder that is removed when the process ends.
class SmallBundle {
public:
    // bundle: the folder of a bundle whose weights are one .safetensors file.
    explicit SmallBundle(const std::filesystem::path& bundle) {
        std::string name = (std::filesystem::temp_directory_path() / "samclip-XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) std::abort();
        folder_ = name;
        for (const auto& each : std::filesystem::directory_iterator(bundle)) {
            const auto place = folder_ / each.path().filename();
            if (each.path().extension() == ".safetensors") std::ofstream(place).close();
            else std::filesystem::copy_file(each.path(), place);
        }
        nlohmann::json manifest = nlohmann::json::parse(std::ifstream(bundle / "manifest.json"));
        for (auto& graph : manifest["graphs"]) {
            for (auto& file : graph["files"]) {
                if (std::filesystem::path(file["path"].get<std::string>()).extension() != ".safetensors") continue;
                file["bytes"] = 0;
                file["sha256"] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";  // of nothing
            }
        }
        std::ofstream(folder_ / "manifest.json") << manifest;
    }
    ~SmallBundle() {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }
    SmallBundle(const SmallBundle&) = delete;
    SmallBundle& operator=(const SmallBundle&) = delete;
    const std::filesystem::path& folder() const { return folder_; }

private:
    std::filesystem::path folder_;
};
