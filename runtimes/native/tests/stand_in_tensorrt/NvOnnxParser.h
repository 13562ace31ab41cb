// A stand-in for a header of TensorRT: see NvInferRuntime.h.
#pragma once

#include "NvInferRuntime.h"

namespace nvonnxparser {

class IParserRefitter {
public:
    virtual ~IParserRefitter() noexcept = default;
    virtual bool refitFromFile(char const* onnx) noexcept = 0;
};

IParserRefitter* createParserRefitter(nvinfer1::IRefitter& refitter, nvinfer1::ILogger& logger) noexcept;

}  // namespace nvonnxparser
