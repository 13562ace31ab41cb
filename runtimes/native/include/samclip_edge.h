/* samclip_edge.h: one photo in, masks and names out, from one network, in plain C.

    #include <samclip_edge.h>
    #include <stdio.h>

    int click(const unsigned char *rgb, int width, int height, double x, double y) {  // pixels of three bytes each
        const char *names[] = {"dog", "cat", "grass"}; double point[] = {x, y};
        samclip_model *model = NULL; samclip_scene *scene = NULL; samclip_masks *masks = NULL; samclip_mask mask;
        samclip_image photo = samclip_packed(SAMCLIP_RGB, rgb, width, height);
        samclip_prompts click = {.prompts = 1, .points_each = 1, .points = point};
        int status = samclip_load("bundle", NULL, &model);
        if (!status) status = samclip_look(model, &photo, NULL, NULL, &scene);  // the encoder runs here, and only here
        if (!status) status = samclip_segment(scene, &click, NULL, &masks);
        if (!status) status = samclip_name(masks, (samclip_names){names, 3}, NULL, NULL);
        if (!status) status = samclip_mask_at(masks, 0, &mask);
        if (status) fprintf(stderr, "%s\n", samclip_error());
        else printf("%s, %lld pixels\n", mask.label ? mask.label : "none of these", (long long)mask.area);
        samclip_free_masks(masks), samclip_free_scene(scene), samclip_free_model(model);
        return status;
    }

  Errors. Every call that can fail returns a status; `samclip_error` has its text, the line that Python's exception has.
  What a failed call was to make is NULL. No exception crosses this interface.

  Memory. What a call made is the caller's, who frees it, in any order: a scene keeps its model, and masks their scene.
  Pointers inside a result live as long as the result, labels until `samclip_name` changes them. Pixels are read during
  `samclip_look` only.

  Threads. One model, and one scene, may be asked from many threads at once, as in Python. A list of masks is for one
  thread at a time while `samclip_name` changes it. Do not free a handle while a call on it runs. Freeing NULL does
  nothing.

  Coordinates are pixels of the upright picture: after the turn and the mirror of its `samclip_image`. x grows to the
  right, y down; the first pixel covers 0 to 1.

  Structures that begin with `size` grow in later versions, at their end: set it to the structure's sizeof, or 0 for the
  size that they have in version 0.1, which `= {0}` does. Zero means "as in Python" in every field. */
#ifndef SAMCLIP_EDGE_H
#define SAMCLIP_EDGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32) && defined(SAMCLIP_EDGE_SHARED)
#ifdef SAMCLIP_EDGE_BUILDING
#define SAMCLIP_API __declspec(dllexport)
#else
#define SAMCLIP_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define SAMCLIP_API __attribute__((visibility("default")))
#else
#define SAMCLIP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define SAMCLIP_EDGE_VERSION 100 /* major * 10000 + minor * 100 + patch, of these headers */
#define SAMCLIP_EDGE_VERSION_TEXT "0.1.0"

SAMCLIP_API int samclip_version(void); /* the same, of the library that is linked */
SAMCLIP_API const char* samclip_version_text(void);

/* ---- Status ---- */

enum {
    SAMCLIP_OK = 0,
    SAMCLIP_INPUT = 1,     /* bad input: Python's InputError */
    SAMCLIP_CHECKSUM = 2,  /* a file of the bundle is not the one that its manifest describes: ChecksumError */
    SAMCLIP_ENGINE = 3,    /* the engine failed on a graph */
    SAMCLIP_MEMORY = 4,    /* there was not enough memory */
    SAMCLIP_CANCELLED = 5, /* `samclip_cancel` was called, or the progress function said to stop */
    SAMCLIP_FAULT = 6      /* a fault of this library */
};
typedef int samclip_status;

/* What went wrong in the last call of this thread that failed, in one line of UTF-8. The next such call replaces it. */
SAMCLIP_API const char* samclip_error(void);

/* ---- Tasks: progress and cancelling. Pass NULL for neither. ---- */

typedef struct samclip_task samclip_task;

/* Called before each step of a long call, in the thread of that call, and once at the end (done == total). A step may
   have steps of its own: each `what` counts by itself. Anything but 0 cancels. */
typedef int (*samclip_progress)(void* context, const char* what, size_t done, size_t total);

SAMCLIP_API samclip_status samclip_make_task(samclip_progress progress, void* context, samclip_task** task);
/* From any thread: calls with this task end soon, for ever after. */
SAMCLIP_API void samclip_cancel(samclip_task* task);
SAMCLIP_API int samclip_cancelled(const samclip_task* task);
SAMCLIP_API void samclip_free_task(samclip_task* task);

/* ---- Models ---- */

typedef struct samclip_model samclip_model;
typedef struct samclip_engine samclip_engine; /* samclip_edge_engine.h */

typedef struct samclip_options {
    size_t size;
    int threads; /* CPU threads for one run of a graph; 0 leaves it to the engine */
    /* NULL: "cpu". As in Python: "cuda", "tensorrt", "coreml", "xnnpack", "qnn", "directml", with options
       ("cuda:device_id=1"), or a provider's own name */
    const char* device;
    const samclip_engine* engine; /* NULL: ONNX Runtime; else an engine of the app's, copied */
} samclip_options;

/* Open the bundle in a folder. Its files must not change while the model lives: they are mapped. Its graphs are checked
   and opened when first needed. */
SAMCLIP_API samclip_status samclip_load(const char* folder, const samclip_options* options, samclip_model** model);

/* A file of a bundle that lies in another one, such as an Android package's uncompressed assets. */
typedef struct samclip_file {
    const char* path; /* in the bundle: "manifest.json" */
    int descriptor;   /* open for reading; it may be closed once the model is loaded */
    int64_t offset;   /* in bytes */
    int64_t length;
} samclip_file;

SAMCLIP_API samclip_status samclip_load_files(const samclip_file* files, size_t count, const samclip_options* options,
                                              samclip_model** model);
SAMCLIP_API void samclip_free_model(samclip_model* model);

typedef struct samclip_size {
    int width, height; /* of the model's input, in pixels */
} samclip_size;

/* The input sizes that the bundle holds, rising. Returns how many; writes at most `most`. */
SAMCLIP_API size_t samclip_sizes(const samclip_model* model, samclip_size* sizes, size_t most);
SAMCLIP_API samclip_size samclip_names_size(const samclip_model* model); /* at which photos are named */
SAMCLIP_API size_t samclip_features(const samclip_model* model);         /* E, the length of a feature */

/* Begin to open the graphs of masks at a size in threads, while a photo is read. NULL: the largest size. */
SAMCLIP_API samclip_status samclip_prepare(samclip_model* model, const samclip_size* size);

/* ---- Pictures ---- */

typedef enum samclip_format {
    SAMCLIP_RGB = 0,
    SAMCLIP_BGR = 1,
    SAMCLIP_RGBA = 2, /* alpha is dropped */
    SAMCLIP_BGRA = 3,
    SAMCLIP_GREY = 4,
    SAMCLIP_NV12 = 5,  /* Y; then U and V by turns, half of each side */
    SAMCLIP_NV21 = 6,  /* Y; then V and U by turns */
    SAMCLIP_I420 = 7,  /* Y; U; V */
    SAMCLIP_YUYV = 8,  /* Y U Y V: two pixels in four bytes */
    SAMCLIP_PLANES = 9 /* Y; U; V, each with a pixel stride: Android's YUV_420_888 */
} samclip_format;

typedef struct samclip_plane {
    const uint8_t* data;
    size_t bytes;        /* that may be read from `data` on */
    size_t row_stride;   /* bytes from a row to the next; 0: rows without gaps */
    size_t pixel_stride; /* bytes from a sample to the next, of SAMCLIP_PLANES; 0: 1 */
} samclip_plane;

typedef struct samclip_image {
    size_t size;
    samclip_format format;
    int width, height; /* as the picture lies in memory */
    /* As many as the format has. Where planes[0] alone is given, the others follow it, and no row has a gap. */
    samclip_plane planes[3];
    int bt709;      /* the colour matrix of YUV: 0: BT.601; 1: BT.709 */
    int full_range; /* of YUV: 0: Y from 16 to 235, as in video; 1: all from 0 to 255, as most cameras give it */
    int turn;       /* degrees clockwise that bring the picture upright: 0, 90, 180, 270 */
    int mirror;     /* 1: then exchange left and right */
} samclip_image;

/* A picture without gaps, upright; of NV12 and such, all of its planes one after another. */
static inline samclip_image samclip_packed(samclip_format format, const uint8_t* data, int width, int height) {
    samclip_image image;
    size_t pixels = width > 0 && height > 0 ? (size_t)width * (size_t)height : 0;
    size_t chroma = width > 0 && height > 0 ? (size_t)((width + 1) / 2) * (size_t)((height + 1) / 2) : 0;
    size_t pairs = width > 0 && height > 0 ? (size_t)((width + 1) / 2) * (size_t)height : 0;
    memset(&image, 0, sizeof image);
    image.format = format;
    image.width = width;
    image.height = height;
    image.planes[0].data = data;
    image.planes[0].bytes = format <= SAMCLIP_BGR    ? 3 * pixels
                            : format <= SAMCLIP_BGRA ? 4 * pixels
                            : format == SAMCLIP_GREY ? pixels
                            : format == SAMCLIP_YUYV ? 4 * pairs
                                                     : pixels + 2 * chroma;
    return image;
}

/* ---- Scenes: a photo that was looked at ---- */

typedef struct samclip_scene samclip_scene;
typedef struct samclip_masks samclip_masks;
typedef struct samclip_guesses samclip_guesses;

/* Encode a picture, once. What the scene is asked afterwards does not run the encoder again. size: one of the bundle's;
   NULL: the largest. */
SAMCLIP_API samclip_status samclip_look(samclip_model* model, const samclip_image* image, const samclip_size* size,
                                        samclip_task* task, samclip_scene** scene);
SAMCLIP_API void samclip_free_scene(samclip_scene* scene);
SAMCLIP_API samclip_size samclip_photo_size(const samclip_scene* scene); /* of the upright picture */
SAMCLIP_API samclip_size samclip_low_res(const samclip_scene* scene);    /* of logits: a quarter of the input */

/* Names in UTF-8. Like Python, names that mean the same letter for letter after cleaning are one. */
typedef struct samclip_names {
    const char* const* names;
    size_t count;
} samclip_names;

/* How names are judged. NULL: as Python does by default. */
typedef struct samclip_naming {
    size_t size;
    const samclip_names* background; /* further rivals of every name; NULL: "background" alone */
    double min_score;                /* the least chance from which on a name is answered */
    int has_min_score;               /* 0: 0.5, and min_score does not count */
} samclip_naming;

/* Name the photo: all labels, the most similar first. */
SAMCLIP_API samclip_status samclip_classify(samclip_scene* scene, samclip_names labels, const samclip_naming* naming,
                                            samclip_task* task, samclip_guesses** guesses);

/* B prompts, each of points, a box, a mask, or of several of them. */
typedef struct samclip_prompts {
    size_t size;
    size_t prompts;       /* B */
    size_t points_each;   /* N: points of each prompt */
    const double* points; /* (B,N,2) x, y; NULL: none */
    const int* labels;    /* (B,N): 1 on the thing, 0 off it; NULL: all 1 */
    const double* boxes;  /* (B,4) x0, y0, x1, y1; NULL: none */
    const float* masks;   /* (B,height,width) of `samclip_low_res`: logits of a mask of the step before; NULL: none */
} samclip_prompts;

/* The best mask of each prompt. */
SAMCLIP_API samclip_status samclip_segment(samclip_scene* scene, const samclip_prompts* prompts, samclip_task* task,
                                           samclip_masks** masks);
/* The three masks of each prompt, highest predicted IoU first: mask 3 * b + k is the k-th of prompt b. */
SAMCLIP_API samclip_status samclip_segment_all(samclip_scene* scene, const samclip_prompts* prompts, samclip_task* task,
                                               samclip_masks** masks);

/* Which masks of a grid of clicks are kept (SAM's automatic mask generator). Fields that are 0 have SAM's values; for 0
   itself give a number beside it, such as DBL_MIN, or -DBL_MIN for `stability`. */
typedef struct samclip_grid {
    size_t size;
    int points_per_side;  /* 0: 32 */
    double predicted_iou; /* the least; 0: 0.88 */
    double stability;     /* the least; 0: 0.95 */
    double offset;        /* 0: 1.0 */
    double overlap;       /* the most; 0: 0.7 */
} samclip_grid;

/* How words become masks. NULL: as Python does by default. */
typedef struct samclip_finding {
    size_t size;
    const samclip_naming* naming; /* NULL: as Python does by default */
    int no_refine;                /* 1: the CLIP head's own map, without the mask decoder */
    int points;                   /* the most point prompts of a name, 1 to 3; 0: 3 */
    double threshold;             /* the least chance of such a point, as a share of the name's highest */
    int has_threshold;            /* 0: 0.5 */
    const samclip_grid* grid;     /* of SAM + CLIP: which masks there are to be named */
} samclip_finding;

/* Where the named things are: one mask a name that is seen, highest score first, none overlapping. */
SAMCLIP_API samclip_status samclip_find(samclip_scene* scene, samclip_names labels, const samclip_finding* finding,
                                        samclip_task* task, samclip_masks** masks);

/* Every mask in the photo, best first. With labels (count above 0) each is named as `samclip_name` does. */
SAMCLIP_API samclip_status samclip_everything(samclip_scene* scene, samclip_names labels, const samclip_naming* naming,
                                              const samclip_grid* grid, samclip_task* task, samclip_masks** masks);

/* Masks of the photo that were kept, each as the `rle` of a samclip_mask, to be named or drawn. */
SAMCLIP_API samclip_status samclip_take_masks(samclip_scene* scene, const char* const* rles, size_t count,
                                              samclip_masks** masks);

/* Name each mask by the label that fits it best, or by none where no chance is enough. */
SAMCLIP_API samclip_status samclip_name(samclip_masks* masks, samclip_names labels, const samclip_naming* naming,
                                        samclip_task* task);

/* ---- Answers ---- */

typedef struct samclip_guess {
    const char* label;
    double score;      /* the calibrated chance, 0..1, that it fits, whatever else was asked */
    double similarity; /* the cosine of the photo and the name */
    double share;      /* its softmax probability among the labels, 0..1 */
} samclip_guess;

SAMCLIP_API size_t samclip_guess_count(const samclip_guesses* guesses);
SAMCLIP_API samclip_status samclip_guess_at(const samclip_guesses* guesses, size_t index, samclip_guess* guess);
SAMCLIP_API void samclip_free_guesses(samclip_guesses* guesses);

typedef struct samclip_mask {
    int width, height;    /* of the photo */
    int64_t area;         /* pixels in the mask */
    int box[4];           /* x0, y0, x1, y1, the end exclusive; zeros for an empty mask */
    double predicted_iou; /* SAM's own; NaN for a map of the CLIP head alone */
    const char* label;    /* NULL without one; then the next two are NaN */
    double score;         /* the calibrated chance that `label` is right */
    double similarity;    /* the cosine of `label` and of what is under the mask */
    double point[2];      /* x, y of the grid point that asked for the mask; NaN without one */
    const char* rle;      /* the compressed `counts` of COCO's RLE */
    const float* logits;  /* (height,width) of `samclip_low_res`, for the next prompt; NULL without */
} samclip_mask;

SAMCLIP_API size_t samclip_mask_count(const samclip_masks* masks);
SAMCLIP_API samclip_status samclip_mask_at(const samclip_masks* masks, size_t index, samclip_mask* mask);
/* Write a mask over (height,width) bytes: `inside` in it, 0 elsewhere. row_stride: 0: width. */
SAMCLIP_API samclip_status samclip_draw(const samclip_masks* masks, size_t index, uint8_t inside, uint8_t* pixels,
                                        size_t row_stride);
SAMCLIP_API void samclip_free_masks(samclip_masks* masks);

/* ---- Features ---- */

/* The photo in CLIP's space: writes E floats of length 1. */
SAMCLIP_API samclip_status samclip_image_features(samclip_scene* scene, samclip_task* task, float* features);
/* Each patch in CLIP's space: (E,rows,columns) over the input, of length 1 along E. Of a merged bundle only. The floats
   are the scene's. */
SAMCLIP_API samclip_status samclip_patch_features(samclip_scene* scene, samclip_task* task, const float** features,
                                                  size_t* rows, size_t* columns);
/* What is under each mask: writes (masks,E). */
SAMCLIP_API samclip_status samclip_mask_features(samclip_masks* masks, samclip_task* task, float* features);
/* Pictures as they come, all of the `size` of the first, looked at in a size (NULL: `samclip_names_size`): writes
 * (count,E). */
SAMCLIP_API samclip_status samclip_embed(samclip_model* model, const samclip_image* images, size_t count,
                                         const samclip_size* size, samclip_task* task, float* features);
/* Texts as they stand; names, where the bundle holds a vocabulary: writes (texts,E). */
SAMCLIP_API samclip_status samclip_embed_text(samclip_model* model, samclip_names texts, samclip_task* task,
                                              float* features);
/* Pictures by how well they fit a text, best first: writes `count` places in `images`, and their cosines. */
SAMCLIP_API samclip_status samclip_rank(samclip_model* model, const samclip_image* images, size_t count,
                                        const char* text, const samclip_size* size, samclip_task* task, size_t* order,
                                        float* similarities);

#ifdef __cplusplus
}
#endif
#endif
