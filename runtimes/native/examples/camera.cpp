// camera BUNDLE SOURCE NAME... [--headless N]: finds named things in a live picture.
//
// SOURCE: the number of a camera, a video file, or a GStreamer pipeline that ends in "appsink", such as a Jetson's
//     "nvarguscamerasrc ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=1"
// Escape ends it. --headless N: opens no window, ends after N frames, and writes the last to camera.png.
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <opencv2/highgui.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/videoio.hpp>
#include <samclip_edge.hpp>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

// Reads a source in a thread of its own, and keeps the newest frame only: whoever is slower than the camera sees what
// is there now, not what was there a second ago.
class NewestFrame {
public:
    explicit NewestFrame(const std::string& source) {
        const bool number = !source.empty() && source.find_first_not_of("0123456789") == source.npos;
        const bool pipeline = source.find('!') != source.npos;
        if (number) capture_.open(std::atoi(source.c_str()));
        else capture_.open(source, pipeline ? cv::CAP_GSTREAMER : cv::CAP_ANY);
        if (!capture_.isOpened()) throw std::runtime_error(source + ": cannot be opened; check its name");
        const double rate = number || pipeline ? 0 : capture_.get(cv::CAP_PROP_FPS);
        if (rate > 0) pause_ = std::chrono::duration<double>(1 / rate);  // a file is shown as fast as it was filmed
        thread_ = std::thread([this] { read(); });
    }
    ~NewestFrame() {
        {
            const std::lock_guard<std::mutex> held(lock_);
            stop_ = true;
        }
        thread_.join();
    }

    // Wait for a frame (height,width) of BGR that was not taken yet. False where the stream has ended.
    bool take(cv::Mat& frame) {
        std::unique_lock<std::mutex> held(lock_);
        changed_.wait(held, [this] { return ended_ || !newest_.empty(); });
        frame = std::move(newest_);
        newest_ = cv::Mat();
        return !frame.empty();
    }
    size_t dropped() {
        const std::lock_guard<std::mutex> held(lock_);
        return dropped_;
    }

private:
    void read() {
        auto due = Clock::now();
        for (bool goes_on = true; goes_on;) {
            cv::Mat frame;  // anew each time, for the one before may be in use
            try {
                if (!capture_.read(frame) || frame.type() != CV_8UC3) frame.release();
            } catch (const cv::Exception& error) {
                std::fprintf(stderr, "%s\n", error.what());
                frame.release();
            }
            due += std::chrono::duration_cast<Clock::duration>(pause_);
            std::this_thread::sleep_until(due);
            const std::lock_guard<std::mutex> held(lock_);
            goes_on = !stop_ && !frame.empty();
            ended_ = !goes_on;
            if (goes_on) {
                if (!newest_.empty()) ++dropped_;
                newest_ = std::move(frame);
            }
            changed_.notify_one();
        }
    }

    cv::VideoCapture capture_;
    std::chrono::duration<double> pause_{0};
    std::thread thread_;
    std::mutex lock_;  // of what follows
    std::condition_variable changed_;
    cv::Mat newest_;
    size_t dropped_ = 0;
    bool stop_ = false, ended_ = false;
};

// Tint the k-th mask into the frame, draw its outline, and write its name.
void draw(cv::Mat& frame, const samclip_edge::Mask& mask, int k) {
    static const cv::Scalar colours[] = {{60, 60, 230}, {90, 170, 40}, {220, 110, 60}, {50, 170, 240}};  // BGR
    cv::Mat inside(mask.height, mask.width, CV_8UC1);
    mask.draw(inside.data);
    cv::Mat tinted = frame * 0.5 + colours[k % 4] * 0.5;
    tinted.copyTo(frame, inside);
    std::vector<std::vector<cv::Point>> outlines;
    cv::findContours(inside, outlines, cv::RETR_EXTERNAL, cv::CHAIN_APPROX_SIMPLE);
    cv::drawContours(frame, outlines, -1, cv::Scalar::all(255), 2);
    const std::string name = *mask.label + " " + std::to_string(static_cast<int>(*mask.score * 100 + 0.5)) + "%";
    cv::putText(frame, name, {mask.box[0] + 8, mask.box[1] + 28 * (k + 1)}, cv::FONT_HERSHEY_SIMPLEX, 0.8,
                cv::Scalar::all(255), 2);
}

void run(const std::string& bundle, const std::string& source, const std::vector<std::string>& names, int headless) {
    const samclip_edge::Model model(bundle);
    model.prepare();
    NewestFrame newest(source);
    cv::Mat frame, next;
    auto before = Clock::now();
    int frames = 0;
    for (; (headless == 0 || frames < headless) && newest.take(next); ++frames) {
        frame = next;
        const auto scene = model.look({SAMCLIP_BGR, frame.data, frame.cols, frame.rows, frame.step});
        const auto masks = scene.find(names);
        std::string seen;
        int k = 0;
        for (const auto& mask : masks) {
            draw(frame, mask, k++);
            seen += (seen.empty() ? "" : ", ") + *mask.label;
        }
        const auto now = Clock::now();
        const double rate = 1 / std::chrono::duration<double>(now - before).count();
        before = now;
        std::printf("%5.1f frames a second: %s\n", rate, seen.empty() ? "nothing" : seen.c_str());
        std::fflush(stdout);
        if (headless != 0) continue;
        cv::imshow("camera", frame);
        if (cv::waitKey(1) == 27) break;
    }
    std::printf("%d frames were looked at, %zu were dropped\n", frames, newest.dropped());
    if (headless != 0 && frames != 0) cv::imwrite("camera.png", frame);
}

}  // namespace

int main(int count, char** words) {
    std::vector<std::string> names(words + std::min(count, 1), words + count);
    int headless = 0;
    if (names.size() >= 2 && names[names.size() - 2] == "--headless") {
        headless = std::atoi(names.back().c_str());
        names.resize(names.size() - 2);
    }
    if (names.size() < 3) {
        std::fprintf(stderr, "camera BUNDLE SOURCE NAME... [--headless N]\n");
        return 2;
    }
    try {
        run(names[0], names[1], {names.begin() + 2, names.end()}, headless);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return 2;
    }
}
