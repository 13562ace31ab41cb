package edge.samclip;

/** Sides in pixels: of a model's input, or of a photo. */
public final class Size {
    public final int width;
    public final int height;

    public Size(int width, int height) {
        this.width = width;
        this.height = height;
    }

    static int[] sides(Size size) {
        return size == null ? null : new int[] {size.width, size.height};
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Size && ((Size) other).width == width && ((Size) other).height == height;
    }

    @Override
    public int hashCode() {
        return 31 * width + height;
    }

    /** As Python writes it: "256", or "1024x576". */
    @Override
    public String toString() {
        return width == height ? "" + width : width + "x" + height;
    }
}
