package edge.samclip;

/** B prompts, each of points, a box, a mask, or of several of them. Coordinates are pixels of the upright photo. */
public final class Prompts {
    final int count;
    int pointsEach;
    double[] points;
    int[] labels;
    double[] boxes;
    float[] masks;

    /** count: B. */
    public Prompts(int count) {
        this.count = count;
    }

    /** One point on the thing. */
    public static Prompts point(double x, double y) {
        return new Prompts(1).points(1, x, y);
    }

    public static Prompts box(double x0, double y0, double x1, double y1) {
        return new Prompts(1).boxes(x0, y0, x1, y1);
    }

    /** each: N, points of each prompt. xy: (B,N,2). */
    public Prompts points(int each, double... xy) {
        pointsEach = each;
        points = xy;
        return this;
    }

    /** (B,N): 1 on the thing, 0 off it. Left out, all are 1. */
    public Prompts labels(int... onTheThing) {
        labels = onTheThing;
        return this;
    }

    /** (B,4): x0, y0, x1, y1. */
    public Prompts boxes(double... corners) {
        boxes = corners;
        return this;
    }

    /** (B,height,width): the `logits` of a mask of the step before. */
    public Prompts masks(float... logits) {
        masks = logits;
        return this;
    }
}
