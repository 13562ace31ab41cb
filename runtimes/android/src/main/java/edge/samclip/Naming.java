package edge.samclip;

import java.util.Collections;
import java.util.List;

/** How names are judged. Set what differs. */
public final class Naming {
    /** Names that each label is compared with beside the bundle's rivals. */
    public List<String> background = Collections.singletonList("background");
    /** The least chance from which on a name is answered. */
    public double minScore = 0.5;

    static byte[] background(Naming naming) {
        return Native.texts((naming == null ? new Naming() : naming).background, "background");
    }

    static double minScore(Naming naming) {
        return (naming == null ? new Naming() : naming).minScore;
    }
}
