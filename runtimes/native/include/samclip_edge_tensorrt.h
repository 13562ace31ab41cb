/* samclip_edge_tensorrt.h: bundles for TensorRT on a CUDA stream of the app's. For builds with SAMCLIP_EDGE_TENSORRT.

   Without this header, `samclip_load` runs bundles for TensorRT on a stream of the library's own. With it:

    samclip_options options = {sizeof options};
    options.engine = samclip_tensorrt_engine(stream);
    status = samclip_load("bundle", &options, &model); */
#ifndef SAMCLIP_EDGE_TENSORRT_H
#define SAMCLIP_EDGE_TENSORRT_H

#include "samclip_edge_engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TensorRT on a stream (a cudaStream_t) of the first GPU, which outlives the models that use it. All copies and graphs
   go on it, after what the app launched there before; a call returns when they are done. Meanwhile no other thread may
   launch on it. NULL: the library's own stream. The table lives as long as the process. Returns NULL when there is no
   memory. */
SAMCLIP_API const samclip_engine* samclip_tensorrt_engine(void* cuda_stream);

#ifdef __cplusplus
}
#endif
#endif
