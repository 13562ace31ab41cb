package edge.samclip;

import java.nio.ByteBuffer;
import java.util.List;

/** A picture as it lies in memory: in direct buffers, from position to limit. They are read during a call. */
public final class Image {
    /** The formats of `samclip_edge.h`, in its order. */
    public enum Format {
        RGB,
        BGR,
        /** Alpha is dropped. */
        RGBA,
        BGRA,
        GREY,
        /** Y; then U and V by turns, half of each side. */
        NV12,
        /** Y; then V and U by turns. */
        NV21,
        /** Y; U; V. */
        I420,
        /** Y U Y V: two pixels in four bytes. */
        YUYV,
        /** Y; U; V, each with a pixel stride: Android's YUV_420_888. */
        PLANES
    }

    /** A part of a picture: `rowStride` bytes from a row to the next, `pixelStride` from a sample to the next. */
    public static final class Plane {
        final ByteBuffer data;
        final int rowStride;
        final int pixelStride;

        /** rowStride: 0: no gaps. pixelStride: of PLANES, else 0. Throws SamClipException where `data` is not direct. */
        public Plane(ByteBuffer data, int rowStride, int pixelStride) {
            if (data == null || !data.isDirect()) {
                throw new SamClipException("photo: its buffer is not direct; make it with ByteBuffer.allocateDirect");
            }
            if (rowStride < 0 || pixelStride < 0) {
                throw new SamClipException("photo: a stride is below 0; give strides of 0 or more");
            }
            this.data = data.slice(); // whose address is that of `data` at its position
            this.rowStride = rowStride;
            this.pixelStride = pixelStride;
        }
    }

    private static final int MOST_PLANES = 3;
    private static final int NUMBERS = 13; // of an image, for C
    private final Format format;
    private final int width;
    private final int height;
    private final Plane[] planes;
    private final boolean bt709;
    private final boolean fullRange;
    private final int turn;
    private final boolean mirror;

    private Image(
            Format format,
            int width,
            int height,
            Plane[] planes,
            boolean bt709,
            boolean fullRange,
            int turn,
            boolean mirror) {
        this.format = format;
        this.width = width;
        this.height = height;
        this.planes = planes;
        this.bt709 = bt709;
        this.fullRange = fullRange;
        this.turn = turn;
        this.mirror = mirror;
    }

    /** Rows without gaps; of NV12 and such, all planes one after another. width, height: as it lies in memory. */
    public static Image packed(Format format, int width, int height, ByteBuffer data) {
        return planes(format, width, height, new Plane(data, 0, 0));
    }

    /** As many planes as the format has. Where the first alone is given, the others follow it without a gap. */
    public static Image planes(Format format, int width, int height, Plane... planes) {
        if (planes.length < 1 || planes.length > MOST_PLANES) {
            throw new SamClipException("photo: has " + planes.length + " planes; give 1 to " + MOST_PLANES);
        }
        return new Image(format, width, height, planes.clone(), false, false, 0, false);
    }

    /** The same, to be turned clockwise to bring it upright: 0, 90, 180 or 270 degrees. */
    public Image turned(int degrees) {
        return new Image(format, width, height, planes, bt709, fullRange, degrees, mirror);
    }

    /** The same, with left and right exchanged after the turn, as a front camera's picture is shown. */
    public Image mirrored() {
        return new Image(format, width, height, planes, bt709, fullRange, turn, true);
    }

    /** The same, of YUV by BT.709 in place of BT.601. */
    public Image bt709() {
        return new Image(format, width, height, planes, true, fullRange, turn, mirror);
    }

    /** The same, of YUV from 0 to 255, in place of Y from 16 to 235. */
    public Image fullRange() {
        return new Image(format, width, height, planes, bt709, true, turn, mirror);
    }

    /** For C: NUMBERS of each image. Zeros for the strides of planes that it has not. */
    static int[] numbers(List<Image> images) {
        int[] numbers = new int[NUMBERS * images.size()];
        int at = 0;
        for (Image each : images) {
            int[] head = {each.format.ordinal(), each.width, each.height, each.bt709 ? 1 : 0, each.fullRange ? 1 : 0};
            System.arraycopy(head, 0, numbers, at, head.length);
            numbers[at + 5] = each.turn;
            numbers[at + 6] = each.mirror ? 1 : 0;
            for (int plane = 0; plane < each.planes.length; plane++) {
                numbers[at + 7 + plane] = each.planes[plane].rowStride;
                numbers[at + 10 + plane] = each.planes[plane].pixelStride;
            }
            at += NUMBERS;
        }
        return numbers;
    }

    /** For C: MOST_PLANES buffers of each image. */
    static ByteBuffer[] buffers(List<Image> images) {
        ByteBuffer[] buffers = new ByteBuffer[MOST_PLANES * images.size()];
        int at = 0;
        for (Image each : images) {
            for (int plane = 0; plane < each.planes.length; plane++) {
                buffers[at + plane] = each.planes[plane].data;
            }
            at += MOST_PLANES;
        }
        return buffers;
    }
}
