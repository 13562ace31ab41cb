package edge.samclip;

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongFunction;

/** Masks of one photo, which keep what they need of its scene. Close them. */
public final class Masks extends AbstractList<Mask> implements AutoCloseable {
    final int logitsLength;
    private final int features;
    private final Handle handle;
    private volatile List<Mask> masks;

    /** features: E. */
    Masks(long address, int logitsLength, int features) {
        this.logitsLength = logitsLength;
        this.features = features;
        handle = new Handle("Masks", address, Native::freeMasks);
        try {
            masks = read(address);
        } catch (Throwable error) {
            handle.close();
            throw error;
        }
    }

    private List<Mask> read(long address) {
        int count = Native.maskCount(address);
        List<Mask> read = new ArrayList<>(count);
        for (int index = 0; index < count; index++) {
            read.add(new Mask(this, address, index));
        }
        return read;
    }

    @Override
    public Mask get(int index) {
        return masks.get(index);
    }

    @Override
    public int size() {
        return masks.size();
    }

    /** Name each mask by the label that fits it best, or by none where no chance is enough. */
    public void name(List<String> labels) {
        name(labels, null, null);
    }

    /** The list then has new masks, with the names; those that were taken from it before stay as they are. */
    public void name(List<String> labels, Naming naming, Task task) {
        byte[] names = Native.texts(labels, "labels");
        byte[] background = Naming.background(naming);
        Task.with(task, running -> handle.change(address -> {
            Native.name(address, names, background, Naming.minScore(naming), running);
            masks = read(address);
            return null;
        }));
    }

    /** What is under each mask in CLIP's space: (masks,E), of length 1. task: may be null. */
    public float[][] features(Task task) {
        return Task.with(task, running -> ask(
                address -> Native.rows(Native.maskFeatures(address, features, running), size())));
    }

    <T> T ask(LongFunction<T> call) {
        return handle.ask(call);
    }

    /** Waits for the calls that run. */
    @Override
    public void close() {
        handle.close();
    }
}
