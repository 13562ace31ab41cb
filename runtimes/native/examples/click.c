/* click BUNDLE PHOTO.ppm X Y NAME...: says which of the names is under a pixel of a photo. */
#include <samclip_edge.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    int width, height;
    FILE *file = argc > 5 ? fopen(argv[2], "rb") : NULL;
    if (!file || fscanf(file, "P6 %5d %5d 255", &width, &height) != 2 || getc(file) == EOF) return 2;
    size_t bytes = 3 * (size_t)width * (size_t)height;
    unsigned char *rgb = malloc(bytes);
    if (!rgb || fread(rgb, 1, bytes, file) != bytes) return 2;
    fclose(file);

    samclip_model *model = NULL; samclip_scene *scene = NULL; samclip_masks *masks = NULL; samclip_mask mask;
    samclip_image photo = samclip_packed(SAMCLIP_RGB, rgb, width, height);
    double point[] = {atof(argv[3]), atof(argv[4])};
    samclip_prompts click = {.prompts = 1, .points_each = 1, .points = point};
    samclip_names names = {(const char *const *)argv + 5, (size_t)argc - 5};
    int status = samclip_load(argv[1], NULL, &model);
    if (!status) status = samclip_look(model, &photo, NULL, NULL, &scene); /* the encoder runs here, and only here */
    if (!status) status = samclip_segment(scene, &click, NULL, &masks);
    if (!status) status = samclip_name(masks, names, NULL, NULL);
    if (!status) status = samclip_mask_at(masks, 0, &mask);
    if (status) fprintf(stderr, "%s\n", samclip_error());
    else printf("%s, %lld pixels\n", mask.label ? mask.label : "none of these", (long long)mask.area);
    samclip_free_masks(masks), samclip_free_scene(scene), samclip_free_model(model), free(rgb);
    return status;
}
