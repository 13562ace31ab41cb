package edge.samclip;

/** How words become masks. Set what differs. */
public final class Finding {
    public Naming naming = new Naming();
    /** False: the CLIP head's own map, without the mask decoder. */
    public boolean refine = true;
    /** The most point prompts of a name, 1 to 3. */
    public int points = 3;
    /** The least chance of such a point, as a share of the name's highest. */
    public double threshold = 0.5;
    /** Of SAM + CLIP: which masks there are to be named. */
    public Grid grid = new Grid();
}
