package edge.samclip;

import static edge.samclip.Expected.SIZE;
import static edge.samclip.Expected.direct;
import static edge.samclip.Expected.whole;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;

/** A picture is the same, however it lies in memory; a buffer that cannot hold it is refused. */
final class PicturesTest {
    private final Expected expected;

    PicturesTest(Expected expected) {
        this.expected = expected;
    }

    void run() {
        Check.run("RGBA with gaps", this::rgba);
        Check.run("NV21, turned and mirrored", this::nv21);
        Check.run("planes with strides", this::planes);
        Check.run("wrong buffers", this::wrong);
    }

    /** The mask of a click, as bits. */
    private byte[] clicked(Image image) {
        try (SamClip model = expected.load();
                Scene scene = model.look(image, SIZE, null);
                Masks masks = scene.segment(expected.click())) {
            return masks.get(0).draw((byte) 1);
        }
    }

    /** mask: which of Python's it is to be. */
    private void check(String mask, Image image, double least, String what) throws IOException {
        double iou = Expected.iou(expected.bytes(mask + "-0.mask"), clicked(image));
        Check.that(iou >= least, what + ": IoU " + iou);
    }

    private void rgba() throws IOException {
        List<String> sides = expected.one("photo");
        int width = whole(sides.get(0));
        int height = whole(sides.get(1));
        byte[] rgb = expected.bytes("0.rgb");
        int stride = 4 * width + 12;
        ByteBuffer data = ByteBuffer.allocateDirect(7 + stride * height); // that do not begin at 0
        for (int pixel = 0; pixel < width * height; pixel++) {
            for (int k = 0; k < 3; k++) {
                data.put(7 + pixel / width * stride + pixel % width * 4 + k, rgb[3 * pixel + k]);
            }
        }
        data.position(7);
        check("click", Image.planes(Image.Format.RGBA, width, height, new Image.Plane(data, stride, 0)), 0.995, "RGBA");
    }

    private void nv21() throws IOException {
        List<String> sides = expected.one("nv21");
        ByteBuffer data = direct(expected.bytes("0.nv21"));
        Image sensor = Image.packed(Image.Format.NV21, whole(sides.get(0)), whole(sides.get(1)), data);
        Image upright = sensor.turned(90).mirrored().fullRange();
        check("coarse", upright, 0.98, "NV21");
        try (SamClip model = expected.load();
                Scene scene = model.look(upright, SIZE, null)) {
            Check.same(expected.one("photo").get(0), "" + scene.size().width, "width of the upright photo");
            Check.same(expected.one("photo").get(1), "" + scene.size().height, "height of the upright photo");
            expected.checkRow("coarse features", scene.imageFeatures(null), 0.005); // by which colours are told apart
        }
        // The same click is elsewhere on the thing in a picture that is not mirrored.
        double iou = Expected.iou(expected.bytes("coarse-0.mask"), clicked(sensor.turned(90).fullRange()));
        Check.that(iou < 0.98, "NV21 that is not mirrored: IoU " + iou);
    }

    private void planes() throws IOException {
        List<String> sides = expected.one("nv21");
        int width = whole(sides.get(0));
        int height = whole(sides.get(1));
        ByteBuffer data = direct(expected.bytes("0.nv21"));
        ByteBuffer red = data.duplicate(); // V; the last sample has no gap behind it, as on Android
        red.position(width * height).limit(data.limit() - 1);
        ByteBuffer blue = data.duplicate();
        blue.position(width * height + 1);
        Image image = Image.planes(
                Image.Format.PLANES,
                width,
                height,
                new Image.Plane(data, width, 1),
                new Image.Plane(blue, width, 2),
                new Image.Plane(red, width, 2));
        check("coarse", image.turned(90).mirrored().fullRange(), 0.98, "planes");
    }

    private void wrong() throws IOException {
        Class<SamClipException> input = SamClipException.class;
        Check.fails(input, "photo: its buffer is not direct", () -> Image.packed(
                Image.Format.RGB, 8, 8, ByteBuffer.allocate(192)));
        Check.fails(input, "photo: a stride is below 0", () -> new Image.Plane(direct(new byte[9]), -1, 0));
        Check.fails(input, "photo: has 0 planes", () -> Image.planes(Image.Format.RGB, 8, 8));
        ByteBuffer small = direct(new byte[191]);
        try (SamClip model = expected.load()) {
            for (Image image : Arrays.asList(
                    Image.packed(Image.Format.RGB, 8, 8, small),
                    Image.packed(Image.Format.RGB, -8, 8, small),
                    Image.packed(Image.Format.RGB, Integer.MAX_VALUE, Integer.MAX_VALUE, small),
                    Image.packed(Image.Format.GREY, 8, 8, small).turned(45),
                    Image.planes(Image.Format.GREY, 8, 8, new Image.Plane(small, Integer.MAX_VALUE, 0)),
                    Image.packed(Image.Format.I420, 12, 12, small))) {
                Check.fails(input, "photo: ", () -> model.look(image, SIZE, null));
            }
        }
    }
}
