/* The header in plain C, against the shared library. */
#include <samclip_edge.h>
#include <samclip_edge_engine.h>
#include <stdio.h>
#include <string.h>

static int failures;

static void expect(int holds, const char* what) {
    if (holds) return;
    fprintf(stderr, "not so: %s\n", what);
    failures += 1;
}

int main(void) {
    /* By hand: 5x3 pixels have 15 of Y and, rounded up, 3x2 of each of the two colours. */
    static const unsigned char pixels[75];
    expect(samclip_packed(SAMCLIP_RGB, pixels, 5, 3).planes[0].bytes == 45, "RGB of 5x3 has 45 bytes");
    expect(samclip_packed(SAMCLIP_BGRA, pixels, 5, 3).planes[0].bytes == 60, "BGRA of 5x3 has 60 bytes");
    expect(samclip_packed(SAMCLIP_GREY, pixels, 5, 3).planes[0].bytes == 15, "grey of 5x3 has 15 bytes");
    expect(samclip_packed(SAMCLIP_NV12, pixels, 5, 3).planes[0].bytes == 27, "NV12 of 5x3 has 27 bytes");
    expect(samclip_packed(SAMCLIP_YUYV, pixels, 5, 3).planes[0].bytes == 36, "YUYV of 5x3 has 36 bytes");

    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", samclip_version() / 10000, samclip_version() / 100 % 100,
             samclip_version() % 100);
    expect(samclip_version() == SAMCLIP_EDGE_VERSION, "header and library are of one version");
    expect(strcmp(samclip_version_text(), text) == 0, "the version is the same as text");

    samclip_model* model = (samclip_model*)&text;
    expect(samclip_load("no such folder", NULL, &model) == SAMCLIP_INPUT, "no such folder is bad input");
    expect(model == NULL, "a failed call makes nothing");
    expect(strstr(samclip_error(), "no such folder") != NULL, "the error says which folder");
    return failures != 0;
}
