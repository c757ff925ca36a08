// The one place where the compiled schema of ONNX is included; what a Model holds.
#pragma once
#include <onnx-ml.pb.h>

#include "optimize/model.h"

namespace mayfly::optimize {

// After read() or parse(): each numeric tensor has its bytes in raw_data, as many as its shape says; none is external.
struct Model::Impl {
  onnx::ModelProto proto;
};

}  // namespace mayfly::optimize
