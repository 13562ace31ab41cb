// samclip-edge-cli: the verbs `classify` and `segment` of samclip-edge for one photo, without Python. Its JSON, its
// errors and what its options mean are those of samclip_edge/cli/{classify,segment}.py.
#include <cctype>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "arguments.hpp"
#include "picture.hpp"

namespace {
using Json = nlohmann::ordered_json;
using samclip_edge::Masks, samclip_edge::Model, samclip_edge::Prompts, samclip_edge::Scene, samclip_edge::Size;

constexpr char kUsage[] = R"(samclip-edge-cli --bundle DIR [--size S|WxH] [--device DEVICE] [--threads N] VERB

classify PHOTO --label NAME ...                   name the photo
segment PHOTO --point x,y[,0|1] ...               what the points are on (with ,0: off)
              --box x0,y0,x1,y1 ...               what is in each box; one box may be given with points
              --text NAME ... [--min-score S]     where the named things are
              --everything [--label NAME ... [--min-score S]] [--min-iou S] [--min-stability S]   every mask
        [-o PICTURE.png]                          draw the masks over the photo

Prints one JSON document. An option that takes several values is repeated. Exit code 0: done; 1: the engine failed, or
there is too little memory; 2: bad input, told in one line on stderr.
)";

// What is asked of `segment`, checked in the order of `Question.of` of samclip_edge/cli/question.py.
Prompts prompts_of(const Arguments& given) {
    for (const char* option : {"--min-iou", "--min-stability"}) {
        if (!given.has(option) || given.has("--everything")) continue;
        throw BadInput(std::string(option) + ": is for the masks of --everything; leave it out");
    }
    const Strings points = given.all("--point"), boxes = given.all("--box");
    const int ways = (points.empty() && boxes.empty() ? 0 : 1) + given.has("--text") + given.has("--everything");
    if (ways != 1) {
        throw BadInput(std::string("what to segment") + (ways == 0 ? "" : ", given together") +
                       ": give either --point and --box, or --text, or --everything");
    }
    if (given.has("--label") && !given.has("--everything")) {
        throw BadInput("--label: names the masks of --everything; use --text to find things by name");
    }
    if (!points.empty() && boxes.size() > 1) {
        throw BadInput("--box: " + std::to_string(boxes.size()) +
                       " boxes together with points; give one box, or no points");
    }
    if (given.has("--min-score") && !given.has("--text") && !given.has("--label")) {
        throw BadInput("--min-score: is for names; give it with --text, or with --everything and --label");
    }
    Prompts prompts;
    prompts.count = std::max<size_t>(boxes.size(), 1);
    for (const std::string& text : points) {
        const auto parts = numbers("--point", text, "x,y or x,y,0 or x,y,1", 2, 3);
        const double label = parts.size() == 3 ? parts[2] : 1;
        if (label != 0 && label != 1) {
            throw BadInput("--point " + text + ": the label is 0 (background) or 1 (foreground)");
        }
        prompts.points.insert(prompts.points.end(), parts.begin(), parts.begin() + 2);
        prompts.labels.push_back(static_cast<int>(label));
    }
    for (const std::string& text : boxes) {
        const auto parts = numbers("--box", text, "x0,y0,x1,y1", 4, 4);
        prompts.boxes.insert(prompts.boxes.end(), parts.begin(), parts.end());
    }
    return prompts;
}

std::string text_of(const Size& size) {
    return std::to_string(size.width) + (size.width == size.height ? "" : "x" + std::to_string(size.height));
}

Json json_of(const Size& size) { return size.width == size.height ? Json(size.width) : Json(text_of(size)); }

// The size that was asked for, or else `otherwise`.
Size chosen(const Model& model, const Arguments& given, const Size& otherwise) {
    if (!given.has("--size")) return otherwise;
    const std::string asked = given.last("--size");
    std::string known;
    for (const Size& each : model.sizes()) {
        const std::string text = text_of(each);
        if (asked == text || asked == std::to_string(each.width) + "x" + std::to_string(each.height)) return each;
        known += (known.empty() ? "" : ", ") + text;
    }
    throw BadInput("--size " + asked + ": the bundle holds " + known + "; choose one of them");
}

// A name without spaces around it; then how the model reads it, but for other letters than ASCII's.
std::string stripped(const std::string& name) {
    const char spaces[] = " \t\n\r\v\f";
    const size_t first = name.find_first_not_of(spaces);
    return first == name.npos ? "" : name.substr(first, name.find_last_not_of(spaces) + 1 - first);
}

std::string folded(const std::string& name) {
    std::string made;
    for (const unsigned char letter : stripped(name)) {
        if (std::isspace(letter) == 0) made += static_cast<char>(std::tolower(letter));
        else if (made.back() != ' ') made += ' ';
    }
    return made;
}

// The names that were looked for and not seen.
Json absent(const Strings& names, const Masks& masks) {
    std::map<std::string, int> seen;
    for (const auto& mask : masks) seen[folded(mask.label.value_or(""))] = 1;
    Json found = Json::array();
    for (const std::string& name : names) {
        if (seen[folded(name)]++ == 0) found.push_back(stripped(name));
    }
    return found;
}

Json json_of(const samclip_edge::Mask& mask) {
    Json made = {{"segmentation", {{"size", {mask.height, mask.width}}, {"counts", mask.rle}}},
                 {"area", mask.area},
                 {"box", mask.box}};
    made["predicted_iou"] = mask.predicted_iou ? Json(*mask.predicted_iou) : Json();
    if (!mask.label) return made;
    made["label"] = *mask.label;
    made["similarity"] = *mask.similarity;
    for (const char* field : {"score", "confidence"}) made[field] = *mask.score;  // `confidence` is its old name
    return made;
}

// The fields of an answer that follow those that each has.
Json classified(const Model& model, const Arguments& given, const std::string& path) {
    const Size size = chosen(model, given, model.names_size());
    const Photo photo = read_photo(path);
    const Scene scene = model.look(photo.image(), size);
    double any_fits = 0;
    Json labels = Json::array();
    for (const auto& guess : scene.classify(given.all("--label"))) {
        any_fits = std::max(any_fits, guess.score);
        labels.push_back(
            {{"label", guess.label}, {"score", guess.score}, {"similarity", guess.similarity}, {"share", guess.share}});
    }
    const Size sides = scene.photo_size();
    const Json answer = {
        {"photo", path}, {"width", sides.width}, {"height", sides.height}, {"any_fits", any_fits}, {"labels", labels}};
    return {{"size", json_of(size)}, {"photos", Json::array({answer})}, {"failed", Json::array()}};
}

// Every mask; where there is none, stderr is told what to lower.
Masks every_mask(const Scene& scene, const Arguments& given, const samclip_edge::Naming& naming) {
    const double iou = given.number("--min-iou", 0.88), stability = given.number("--min-stability", 0.95);
    samclip_edge::Grid grid = {};
    grid.predicted_iou = iou == 0 ? 1e-300 : iou;  // 0 stands for SAM's own value
    grid.stability = stability == 0 ? 1e-300 : stability;
    Masks masks = scene.everything(given.all("--label"), naming, grid);
    if (masks.empty()) {
        std::cerr << "note: no mask reaches --min-iou " << iou << " and --min-stability " << stability
                  << "; lower them, as far as 0.6 and 0.7 for the shipped model" << std::endl;
    }
    return masks;
}

Json segmented(const Model& model, const Arguments& given, const std::string& path, const Prompts& prompts) {
    const Size size = chosen(model, given, model.sizes().back());
    model.prepare(size);
    const Photo photo = read_photo(path);
    const Scene scene = model.look(photo.image(), size);
    samclip_edge::Finding finding;
    finding.naming.min_score = given.number("--min-score", 0.5);
    const Strings names = given.all("--text");
    const Masks masks = given.has("--everything") ? every_mask(scene, given, finding.naming)
                        : names.empty()           ? scene.segment(prompts)
                                                  : scene.find(names, finding);
    if (given.has("-o")) write_picture(given.last("-o"), photo, masks);
    Json found = Json::array();
    for (const auto& mask : masks) found.push_back(json_of(mask));
    const Size sides = scene.photo_size();
    return {{"photo", path},         {"width", sides.width}, {"height", sides.height},
            {"size", json_of(size)}, {"masks", found},       {"absent", absent(names, masks)}};
}

Json answered(const Arguments& given) {
    if (given.words.empty()) throw BadInput("Missing command. (see --help)");
    const bool segments = given.words[0] == "segment";
    if (!segments && given.words[0] != "classify") {
        throw BadInput("No such command '" + given.words[0] + "'. (see --help)");
    }
    for (const char* option :
         {"--point", "--box", "--text", "--everything", "--min-score", "--min-iou", "--min-stability", "-o"}) {
        if (!segments && given.has(option)) throw BadInput(std::string("No such option: ") + option + " (see --help)");
    }
    if (given.words.size() != 2) {
        throw BadInput(given.words.size() < 2 ? "Missing argument 'PHOTO'. (see --help)"
                                              : "PHOTO: is one photo; ask for each by itself");
    }
    if (!given.has("--bundle")) throw BadInput("Missing option '--bundle'. (see --help)");
    const std::string path = given.words[1], bundle = given.last("--bundle");
    const double threads = given.number("--threads", 1);
    if (!(threads >= 1 && threads <= 1024 && threads == static_cast<int>(threads))) {
        throw BadInput("--threads " + given.last("--threads") + ": give a whole number, 1 to 1024");
    }
    for (const char* option : {"--min-score", "--min-iou", "--min-stability"}) given.number(option, 0);
    const auto prompts = segments ? prompts_of(given) : Prompts();
    if (!segments && !given.has("--label")) throw BadInput("--label: no name; give at least one");
    if (given.has("-o")) check_picture(given.last("-o"), path);

    const Model model(bundle, given.last("--device", "cpu"), given.has("--threads") ? static_cast<int>(threads) : 0);
    std::ifstream manifest(bundle + "/manifest.json");
    Json answer = {{"bundle", bundle}, {"trained", Json::parse(manifest).at("trained")}};
    answer.update(segments ? segmented(model, given, path, prompts) : classified(model, given, path));
    return answer;
}

// A line of the library's, which begins with the name of an argument: with the option's instead.
std::string of_options(const Arguments& given, const std::string& line) {
    const std::map<std::string, std::string> options = {
        {"device", "--device"},        {"labels", given.has("--text") ? "--text" : "--label"}, {"min_score", "--min-score"},
        {"predicted_iou", "--min-iou"}, {"stability", "--min-stability"}};
    const size_t end = line.find_first_of(" :");
    const auto found = options.find(line.substr(0, end));
    return found == options.end() ? line : found->second + line.substr(end);
}

int failed(const std::string& line, int code) {
    std::cerr << "error: " << line << std::endl;
    return code;
}

}  // namespace

int main(int count, char** words) {
    Arguments given;
    try {
        given = Arguments(count, words);
        if (given.has("--help") || count == 1) {
            (count == 1 ? std::cerr : std::cout) << kUsage;
            return count == 1 ? 2 : 0;
        }
        std::cout << answered(given).dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
        return std::cout ? 0 : failed("the answer cannot be written", 2);
    } catch (const BadInput& error) {
        return failed(error.what(), 2);
    } catch (const samclip_edge::Error& error) {
        const bool input = error.status() == SAMCLIP_INPUT || error.status() == SAMCLIP_CHECKSUM;
        return failed(of_options(given, error.what()), input ? 2 : 1);
    } catch (const std::bad_alloc&) {
        return failed("this machine has too little memory for it", 1);
    } catch (const std::exception& error) {
        return failed(std::string("a fault of samclip-edge-cli (") + error.what() + ")", 1);
    }
}
