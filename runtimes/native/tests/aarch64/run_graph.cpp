// run_graph GRAPH.onnx FOLDER DIMS...: runs a graph once in ONNX Runtime, for test_aarch64.py.
//     DIMS is one word for each input, such as 2x3x64, or "-" for a scalar. The inputs lie in FOLDER as in0, in1, ...,
//     float or int32, row by row; the outputs are written there as out0, out1, ... On stdout, a line for each output:
//     its type (a number of ONNX's TensorProto) and its dims.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

namespace {

std::vector<int64_t> dims_of(const std::string& word) {
    std::vector<int64_t> dims;
    for (size_t at = 0; word != "-" && at < word.size(); ++at) {
        size_t read = 0;
        dims.push_back(std::stoll(word.substr(at), &read));
        at += read;
    }
    return dims;
}

std::vector<char> content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void run(const std::string& graph, const std::string& folder, const std::vector<std::string>& words) {
    const Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "run_graph");
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(1);
    Ort::Session session(env, graph.c_str(), options);
    const Ort::AllocatorWithDefaultOptions allocator;
    std::vector<std::string> names;
    for (size_t k = 0; k < session.GetInputCount(); ++k)
        names.push_back(session.GetInputNameAllocated(k, allocator).get());
    for (size_t k = 0; k < session.GetOutputCount(); ++k)
        names.push_back(session.GetOutputNameAllocated(k, allocator).get());
    std::vector<const char*> given;
    for (const std::string& name : names) given.push_back(name.c_str());

    const Ort::MemoryInfo host = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<std::vector<char>> bytes;
    std::vector<Ort::Value> inputs;
    for (size_t k = 0; k < session.GetInputCount(); ++k) {
        const std::vector<int64_t> dims = dims_of(words.at(k));
        const auto type = session.GetInputTypeInfo(k).GetTensorTypeAndShapeInfo().GetElementType();
        bytes.push_back(content(folder + "/in" + std::to_string(k)));
        inputs.push_back(
            Ort::Value::CreateTensor(host, bytes[k].data(), bytes[k].size(), dims.data(), dims.size(), type));
    }
    const std::vector<Ort::Value> outputs = session.Run(Ort::RunOptions(), given.data(), inputs.data(), inputs.size(),
                                                        given.data() + inputs.size(), given.size() - inputs.size());
    for (size_t k = 0; k < outputs.size(); ++k) {
        const auto info = outputs[k].GetTensorTypeAndShapeInfo();
        std::cout << info.GetElementType();
        for (const int64_t side : info.GetShape()) std::cout << ' ' << side;
        std::cout << '\n';
        const size_t each = info.GetElementType() == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 ? 1 : 4;
        std::ofstream file(folder + "/out" + std::to_string(k), std::ios::binary);
        file.write(static_cast<const char*>(outputs[k].GetTensorRawData()),
                   static_cast<std::streamsize>(each * info.GetElementCount()));
    }
}

}  // namespace

int main(int count, char** words) {
    Ort::InitApi(OrtGetApiBase()->GetApi(20));  // of 1.20, whatever headers this was compiled with
    run(words[1], words[2], {words + 3, words + count});
}
