// Measures the library in one scenario of `samclip-edge bench`, in a fresh process, and prints what
// `samclip_edge/benchmarks/child.py` prints, as JSON. Its arguments are those that `benchmarks/native.py` gives:
//
//     samclip-edge-measure BUNDLE SCENARIO THREADS RUNS MOST PIXELS WIDTH HEIGHT TRAINED WORD...
//
// PIXELS is a file of RGB pixels. TRAINED is 1 where SAM's filters mean something. Of `start to the first mask` it
// prints the time of the steady clock when the mask is there.
#include <samclip_edge.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kEnough = 20, kQuick = 2;  // seconds of runs, as in `child.py`
constexpr size_t kSide = 32, kMasks = 100;  // of `settings_for` in `scenarios.py`

void check(samclip_status status) {
    if (status == SAMCLIP_OK) return;
    std::fprintf(stderr, "%s\n", samclip_error());
    std::exit(1);
}

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// The peak memory of this process so far, in bytes.
long long peak() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.compare(0, 6, "VmHWM:") == 0) return std::atoll(line.c_str() + 6) * 1024;
    }
    return 0;
}

struct Scene {
    samclip_scene* held = nullptr;
    ~Scene() { samclip_free_scene(held); }
};

struct Masks {
    samclip_masks* held = nullptr;
    ~Masks() { samclip_free_masks(held); }
};

// What an app does with a photo, as in `scenarios.py`.
class App {
public:
    App(const char* bundle, int threads, samclip_image photo, samclip_names words, bool trained)
        : photo_(photo), words_(words), trained_(trained) {
        samclip_options options = {};
        options.threads = threads;
        check(samclip_load(bundle, &options, &model_));
        check(samclip_sizes(model_, &smallest_, 1) == 0 ? SAMCLIP_FAULT : SAMCLIP_OK);
        everything_.predicted_iou = 0;
    }
    ~App() { samclip_free_model(model_); }
    App(const App&) = delete;
    App& operator=(const App&) = delete;

    void prepare() { check(samclip_prepare(model_, nullptr)); }
    void name() {
        Scene scene = look(&smallest_);
        classify(scene);
    }
    void click() {
        Scene scene = look(nullptr);
        segment(scene, 0.5);
    }
    void ten_clicks() {
        Scene scene = look(nullptr);
        for (int k = 0; k < 10; ++k) segment(scene, (k + 0.5) / 10);
    }
    void name_and_click() {
        Scene scene = look(nullptr);
        classify(scene);
        segment(scene, 0.5);
    }
    void words() {
        Scene scene = look(nullptr);
        Masks masks;
        samclip_finding how = {};
        const samclip_naming naming = {0, nullptr, 0, 1};  // the least score is 0: each word is answered
        how.naming = &naming;
        check(samclip_find(scene.held, words_, &how, nullptr, &masks.held));
    }
    void everything() {
        Scene scene = look(nullptr);
        Masks masks;
        check(samclip_everything(scene.held, words_, nullptr, &everything_, nullptr, &masks.held));
    }
    // Random weights: settings that keep the masks of highest predicted IoU (`settings_for`).
    void choose_settings() {
        if (trained_) return;
        std::vector<double> ious;
        Scene scene = look(nullptr);
        for (size_t row = 0; row < kSide; ++row) {
            std::vector<double> clicks;
            for (size_t column = 0; column < kSide; ++column) {
                clicks.push_back((static_cast<double>(column) + 0.5) / kSide * photo_.width);
                clicks.push_back((static_cast<double>(row) + 0.5) / kSide * photo_.height);
            }
            samclip_prompts prompts = {};
            prompts.prompts = kSide;
            prompts.points_each = 1;
            prompts.points = clicks.data();
            Masks masks;
            check(samclip_segment_all(scene.held, &prompts, nullptr, &masks.held));
            for (size_t k = 0; k < samclip_mask_count(masks.held); ++k) {
                samclip_mask mask;
                check(samclip_mask_at(masks.held, k, &mask));
                ious.push_back(mask.predicted_iou);
            }
        }
        std::sort(ious.begin(), ious.end());
        everything_.predicted_iou = ious[ious.size() - kMasks - 1];
        everything_.stability = 1e-300;  // 0 would be SAM's
        everything_.overlap = 1;
    }

private:
    Scene look(const samclip_size* size) {
        Scene scene;
        check(samclip_look(model_, &photo_, size, nullptr, &scene.held));
        return scene;
    }
    void classify(const Scene& scene) {
        samclip_guesses* guesses = nullptr;
        check(samclip_classify(scene.held, words_, nullptr, nullptr, &guesses));
        samclip_free_guesses(guesses);
    }
    void segment(const Scene& scene, double across) {
        const double point[] = {photo_.width * across, photo_.height * 0.5};
        samclip_prompts prompts = {};
        prompts.prompts = prompts.points_each = 1;
        prompts.points = point;
        Masks masks;
        check(samclip_segment(scene.held, &prompts, nullptr, &masks.held));
    }

    samclip_model* model_ = nullptr;
    samclip_size smallest_ = {};
    samclip_image photo_;
    samclip_names words_;
    bool trained_;
    samclip_grid everything_ = {};
};

const std::map<std::string, void (App::*)()> kScenarios = {
    {"start to the first mask", &App::click},
    {"name a photo", &App::name},
    {"one click", &App::click},
    {"ten clicks", &App::ten_clicks},
    {"name and click", &App::name_and_click},
    {"words to masks", &App::words},
    {"everything, named", &App::everything},
};

void print(double load, double first, const std::vector<double>& seconds, long long bare) {
    std::printf("{\"load\": %.9f, \"first\": %.9f, \"seconds\": [", load, first);
    for (size_t k = 0; k < seconds.size(); ++k) std::printf("%s%.9f", k ? ", " : "", seconds[k]);
    std::printf("], \"by_graph\": [], \"peak\": %lld, \"above\": %lld}\n", peak(), peak() - bare);
}

}  // namespace

int main(int count, char** given) {
    const std::vector<const char*> arguments(given + 1, given + count);
    if (arguments.size() < 10 || kScenarios.count(arguments[1]) == 0) {
        std::fprintf(stderr, "samclip-edge-measure is run by samclip-edge bench --runtime native\n");
        return 2;
    }
    const std::string scenario = arguments[1];
    const int runs = std::atoi(arguments[3]), most = std::atoi(arguments[4]);
    const long long bare = peak();
    std::ifstream file(arguments[5], std::ios::binary);
    const std::vector<char> pixels{std::istreambuf_iterator<char>(file), {}};
    samclip_image photo = samclip_packed(SAMCLIP_RGB, reinterpret_cast<const uint8_t*>(pixels.data()),
                                         std::atoi(arguments[6]), std::atoi(arguments[7]));
    photo.planes[0].bytes = pixels.size();
    Clock::time_point start = Clock::now();
    App app(arguments[0], std::atoi(arguments[2]), photo, {arguments.data() + 9, arguments.size() - 9},
            std::string(arguments[8]) == "1");
    const double load = since(start);
    if (scenario == "start to the first mask") {
        app.prepare();
        app.click();
        std::printf("%.9f\n", std::chrono::duration<double>(Clock::now().time_since_epoch()).count());
        return 0;
    }
    const bool dear = scenario == "words to masks" || scenario == "everything, named";
    const auto run = kScenarios.at(scenario), warm = dear ? &App::name_and_click : run;
    start = Clock::now();
    (app.*warm)();  // opens the graphs, and reads the names
    const double first = since(start);
    if (scenario == "everything, named") app.choose_settings();
    std::vector<double> seconds;
    double total = 0;
    while ((static_cast<int>(seconds.size()) < runs && total < kEnough) ||
           (static_cast<int>(seconds.size()) < most && total < kQuick)) {
        start = Clock::now();
        (app.*run)();
        seconds.push_back(since(start));
        total += seconds.back();
    }
    print(load, first, seconds, bare);
    return 0;
}
