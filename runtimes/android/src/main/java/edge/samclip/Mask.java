package edge.samclip;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** One mask, in the photo's own pixels. Its values stay; `draw` and `logits` need the `Masks` that it came in open. */
public final class Mask {
    private final Masks masks;
    private final int index;
    private final double[] numbers; // see `Native.maskNumbers`
    private final String label;
    private final String rle;

    /** Reads the mask at an index of masks, whose address this is. */
    Mask(Masks masks, long address, int index) {
        this.masks = masks;
        this.index = index;
        numbers = Native.maskNumbers(address, index);
        byte[] name = Native.maskLabel(address, index);
        label = name == null ? null : new String(name, StandardCharsets.UTF_8);
        rle = new String(Native.maskRle(address, index), StandardCharsets.US_ASCII);
    }

    /** Of the photo. */
    public int width() {
        return (int) numbers[0];
    }

    public int height() {
        return (int) numbers[1];
    }

    /** Pixels in the mask. */
    public long area() {
        return (long) numbers[2];
    }

    /** x0, y0, x1, y1 around the mask, the end exclusive; zeros for an empty one. */
    public int[] box() {
        return new int[] {(int) numbers[3], (int) numbers[4], (int) numbers[5], (int) numbers[6]};
    }

    /** SAM's own; NaN for a map of the CLIP head alone. */
    public double predictedIou() {
        return numbers[7];
    }

    /** Null without one; then score and similarity are NaN. */
    public String label() {
        return label;
    }

    /** The calibrated chance that the label is right. */
    public double score() {
        return numbers[8];
    }

    /** The cosine of the label and of what is under the mask. */
    public double similarity() {
        return numbers[9];
    }

    /** x, y of the grid point that asked for the mask; null without one. */
    public double[] point() {
        return Double.isNaN(numbers[10]) ? null : new double[] {numbers[10], numbers[11]};
    }

    /** The compressed `counts` of COCO's RLE. */
    public String rle() {
        return rle;
    }

    /** (height,width) bytes: `inside` in the mask, 0 elsewhere. */
    public byte[] draw(byte inside) {
        return masks.ask(address -> Native.drawn(address, index, inside));
    }

    /**
     * The same into a direct buffer, from its position on. rowStride: bytes from a row to the next; 0: width. Throws
     * SamClipException where the buffer is not direct, cannot be written, or is too small.
     */
    public void draw(byte inside, ByteBuffer pixels, int rowStride) {
        if (pixels == null || !pixels.isDirect() || pixels.isReadOnly()) {
            throw new SamClipException("pixels: is no direct buffer to write to; use ByteBuffer.allocateDirect");
        }
        masks.ask(address -> {
            Native.draw(address, index, inside, pixels.slice(), rowStride);
            return null;
        });
    }

    /** (height,width) of `Scene.logitsSize`, for the next `Prompts.masks`; null without. */
    public float[] logits() {
        return masks.ask(address -> Native.maskLogits(address, index, masks.logitsLength));
    }
}
