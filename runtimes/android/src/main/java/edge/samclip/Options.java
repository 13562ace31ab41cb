package edge.samclip;

/** How the graphs of a bundle are run. Set what differs. */
public final class Options {
    /** CPU threads for one run of a graph; 0 leaves it to the engine. */
    public int threads = 0;
    /** As in Python: "cpu", "xnnpack", "qnn", with options ("qnn:backend_path=libQnnHtp.so"), or a provider's name. */
    public String device = "cpu";
}
