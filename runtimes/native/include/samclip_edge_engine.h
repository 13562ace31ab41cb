/* samclip_edge_engine.h: the table of functions by which an app hands in an engine of its own, such as Core ML's from
   Swift. ONNX Runtime's is built in, and is this same table inside.

   A tensor is the engine's: memory wherever it runs. What one graph gives goes into the next as it is, without passing
   through the host; only what `fill` and `read` are called for crosses. All functions get `context` first. They return
   0, or another status of samclip_edge.h after they wrote one line into `error`. `run` may be called from several
   threads at once, for one session too. */
#ifndef SAMCLIP_EDGE_ENGINE_H
#define SAMCLIP_EDGE_ENGINE_H

#include "samclip_edge.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum samclip_type { SAMCLIP_FLOAT32 = 0, SAMCLIP_INT32 = 1 } samclip_type;

#define SAMCLIP_MOST_DIMENSIONS 8

typedef struct samclip_error_text {
    char line[512]; /* UTF-8, ends with 0 */
} samclip_error_text;

/* An input or output of a graph. */
typedef struct samclip_port {
    const char* name;
    samclip_type type;
    size_t dimensions;
    int64_t shape[SAMCLIP_MOST_DIMENSIONS]; /* -1: each call chooses it */
} samclip_port;

/* A file of a graph, whose bytes are those that the manifest describes. */
typedef struct samclip_graph_file {
    const char* path;  /* in the bundle */
    const char* whole; /* the path of it on disk; NULL where it lies in another file */
    const void* data;  /* mapped, until the session is closed */
    size_t bytes;
} samclip_graph_file;

/* What built the engines of a bundle for TensorRT, and for which GPUs. */
typedef struct samclip_built_engines {
    const char* builder; /* "tensorrt" or "tensorrt_rtx" */
    const char* version;
    const char* const* capabilities; /* compute capabilities, such as "8.7" */
    size_t capability_count;
    int portable; /* version-compatible: newer versions load them too */
    int stripped; /* without weights, which the ONNX graph has */
} samclip_built_engines;

typedef struct samclip_graph {
    size_t size;
    const char* name;      /* "image_encoder" and so on: the graphs of docs/bundle.md */
    const char* target;    /* "onnx", "coreml", "tensorrt", "litert" */
    const char* precision; /* "fp32", "fp16", "int8", ... */
    const char* function;  /* of Core ML: the function in the package */
    /* The graph first, then the weights that it shares. Of TensorRT the built engine, then
       these if it is `stripped`. */
    const samclip_graph_file* files;
    size_t file_count;
    const samclip_port* inputs;
    size_t input_count;
    const samclip_port* outputs;
    size_t output_count;
    int threads; /* see samclip_options */
    const char* device;
    const char* bundle;                         /* for messages: its folder */
    const samclip_built_engines* built_engines; /* NULL: none are built */
} samclip_graph;

/* Where a tensor lies, and how. */
typedef struct samclip_layout {
    samclip_type type;
    size_t dimensions;
    int64_t shape[SAMCLIP_MOST_DIMENSIONS];
    int64_t strides[SAMCLIP_MOST_DIMENSIONS]; /* in elements */
    const char* device;                       /* "cpu", "cuda:0", ... */
    void* host; /* its memory where the host may write and read it, C order, without a gap; else NULL */
} samclip_layout;

struct samclip_engine {
    size_t size; /* sizeof(samclip_engine) */
    void* context;
    samclip_status (*open)(void* context, const samclip_graph* graph, void** session, samclip_error_text* error);
    void (*close)(void* context, void* session);
    /* A tensor that is an input of the session; it may outlive it. */
    samclip_status (*make)(void* context, void* session, samclip_type type, size_t dimensions, const int64_t* shape,
                           void** tensor, samclip_error_text* error);
    void (*free)(void* context, void* tensor);
    samclip_status (*layout)(void* context, const void* tensor, samclip_layout* layout, samclip_error_text* error);
    /* Copy from and to the host: C order, without a gap. */
    samclip_status (*fill)(void* context, void* tensor, const void* data, size_t bytes, samclip_error_text* error);
    samclip_status (*read)(void* context, const void* tensor, void* data, size_t bytes, samclip_error_text* error);
    /* All inputs in the graph's order to all outputs in its order, new tensors. May ask `samclip_cancelled`. */
    samclip_status (*run)(void* context, void* session, void* const* inputs, void** outputs, samclip_task* task,
                          samclip_error_text* error);
};

#ifdef __cplusplus
}
#endif
#endif
