package edge.samclip;

/** A name for a photo. */
public final class Guess {
    public final String label;
    /** The calibrated chance, 0 to 1, that it fits, whatever else was asked. */
    public final double score;
    /** The cosine of the photo and the name. */
    public final double similarity;
    /** Its softmax probability among the labels, 0 to 1. */
    public final double share;

    Guess(String label, double score, double similarity, double share) {
        this.label = label;
        this.score = score;
        this.similarity = similarity;
        this.share = share;
    }
}
