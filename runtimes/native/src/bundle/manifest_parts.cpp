#include "bundle/manifest_parts.hpp"

#include "bundle/spec.hpp"
#include "python_repr.hpp"

namespace samclip {
namespace {

bool leaves_the_bundle(const std::string& path) {
    if (path.empty() || path[0] == '/' || path.find_first_of("\\:") != path.npos) return true;
    return ("/" + path + "/").find("/../") != path.npos;
}

Logistic read_logistic(const Field& field) {
    Logistic logistic;
    Record record(field, "Logistic");
    if (const auto slope = record.given("slope")) logistic.slope = slope->positive();
    logistic.offset = record.number("offset", logistic.offset);
    record.close();
    return logistic;
}

Chances read_chances(const Field& field) {
    Chances chances;
    Record record(field, "Chances");
    chances.size = read_size(record.required("size"));
    chances.patches = read_logistic(record.required("patches"));
    chances.mask = read_logistic(record.required("mask"));
    chances.photo = read_logistic(record.required("photo"));
    record.close();
    return chances;
}

std::optional<File> read_optional_file(Record& record, const char* key) {
    const auto found = record.nullable(key);
    return found ? std::optional(read_file(*found)) : std::nullopt;
}

// "8.7": digits, a point, digits.
bool is_capability(const std::string& text) {
    const size_t point = text.find('.');
    const auto digits = [](const std::string& part) {
        return !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    };
    return point != text.npos && digits(text.substr(0, point)) && digits(text.substr(point + 1));
}

}  // namespace

File read_file(const Field& field) {
    File file;
    Record record(field, "File");
    const Field path = record.required("path");
    file.path = path.text();
    if (leaves_the_bundle(file.path)) path.wrong("path " + python_repr(file.path) + " leaves the bundle");
    file.sha256 = record.required("sha256").hash();
    file.bytes = record.required("bytes").whole(0);
    record.close();
    return file;
}

std::vector<File> read_files(const Field& field, size_t least) {
    std::vector<File> files;
    for (const Field& each : field.list(least)) files.push_back(read_file(each));
    return files;
}

void read_text(const Field& field, Manifest& manifest) {
    Record record(field, "Text");
    manifest.templates = read_file(record.required("templates"));
    manifest.logit_scale = record.required("logit_scale").number();
    if (const auto bias = record.nullable("logit_bias")) manifest.logit_bias = bias->number();
    manifest.tokenizer = read_optional_file(record, "tokenizer");
    manifest.names = read_optional_file(record, "names");
    manifest.names_features = read_optional_file(record, "features");
    record.close();
    const bool names = manifest.names.has_value();
    if (manifest.tokenizer.has_value() == names || names != manifest.names_features.has_value()) {
        field.wrong("text has either a tokenizer or a vocabulary of names and features");
    }
}

Calibration read_calibration(const Field& field) {
    Calibration calibration;
    Record record(field, "Calibration");
    calibration.names = read_file(record.required("names"));
    calibration.features = read_file(record.required("features"));
    calibration.same = record.required("same").number();
    record.required("measured_on").text();
    for (const Field& each : record.required("sizes").list(1)) calibration.sizes.push_back(read_chances(each));
    record.close();
    return calibration;
}

void check_texts(const std::vector<Field>& fields) {
    for (const Field& each : fields) each.text();
}

void check_parity(const Field& field, const char* model) {
    for (const Field& each : field.entries()) {
        Record record(each, model);
        record.required("error").number();
        record.required("cosine").number();
        record.close();
    }
}

void check_references(const Field& field) {
    for (const Field& each : field.entries()) {
        Record record(each, "Reference");
        record.required("std").number();
        for (const Field& value : record.required("values").list()) value.number();
        record.close();
    }
}

void check_weights(const Field& field) {
    for (const Field& each : field.list()) {
        Record record(each, "Weights");
        record.required("what").text();
        record.required("file").text();
        for (const char* key : {"repository", "revision"}) {
            if (const auto text = record.nullable(key)) text->text();
        }
        if (const auto hash = record.nullable("sha256")) hash->hash();
        if (const auto license = record.nullable("license")) license->text();
        record.close();
    }
}

BuiltEngines read_engines(const Field& field) {
    BuiltEngines engines;
    Record record(field, "BuiltEngines");
    engines.builder = record.required("builder").choice({"tensorrt", "tensorrt_rtx"});
    engines.version = record.required("version").text();
    for (const Field& each : record.required("capabilities").list(1)) {
        engines.capabilities.push_back(each.text());
        if (!is_capability(engines.capabilities.back())) each.refuse(R"(String should match pattern '^\d+\.\d+$')");
    }
    engines.portable = record.truth("portable", false);
    engines.stripped = record.truth("stripped", false);
    record.close();
    return engines;
}

}  // namespace samclip
