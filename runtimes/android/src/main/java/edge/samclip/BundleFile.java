package edge.samclip;

/** A file of a bundle that lies in another one, such as an Android package's uncompressed assets. */
public final class BundleFile {
    /** In the bundle: "manifest.json". */
    public final String path;
    /** Open for reading; it may be closed once the model is loaded. */
    public final int descriptor;
    /** In bytes. */
    public final long offset;

    public final long length;

    public BundleFile(String path, int descriptor, long offset, long length) {
        this.path = path;
        this.descriptor = descriptor;
        this.offset = offset;
        this.length = length;
    }
}
