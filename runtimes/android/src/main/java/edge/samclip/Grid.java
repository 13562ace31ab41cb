package edge.samclip;

/** Which masks of a grid of clicks are kept (SAM's automatic mask generator, whose values these are). */
public final class Grid {
    public int pointsPerSide = 32;
    /** The least. */
    public double predictedIou = 0.88;
    /** The least IoU between the masks cut at `offset` above and below 0. */
    public double stability = 0.95;

    public double offset = 1.0;
    /** The most IoU of two boxes before the worse mask is dropped. */
    public double overlap = 0.7;

    /** For C, where a 0 stands for SAM's value. */
    static double[] numbers(Grid grid) {
        Grid each = grid == null ? new Grid() : grid;
        return new double[] {each.pointsPerSide, each.predictedIou, each.stability, each.offset, each.overlap};
    }
}
