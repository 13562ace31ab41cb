package edge.samclip;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * One photo in, masks and names out, from one network: a loaded bundle. One may serve many threads. Close it.
 *
 * <p>Sizes, options and tasks may be null: as Python's defaults. Bad input throws SamClipException.
 */
public final class SamClip implements AutoCloseable {
    /** A picture's place in the list that was given, and its cosine with the text. */
    public static final class Ranked {
        public final int index;
        public final double similarity;

        Ranked(int index, double similarity) {
            this.index = index;
            this.similarity = similarity;
        }
    }

    private final Handle handle;

    private SamClip(long address) {
        handle = new Handle("SamClip", address, Native::freeModel);
    }

    /** Open the bundle in a folder. Its graphs are checked and opened when first needed. */
    public static SamClip load(String folder) {
        return load(folder, null);
    }

    public static SamClip load(String folder, Options options) {
        Options how = options == null ? new Options() : options;
        return new SamClip(Native.load(Native.text(folder, "folder"), how.threads, Native.text(how.device, "device")));
    }

    /** Open a bundle whose files lie in other files; `AndroidAssets` opens those of an app. */
    public static SamClip load(List<BundleFile> files, Options options) {
        Options how = options == null ? new Options() : options;
        List<String> paths = new ArrayList<>();
        int[] descriptors = new int[files.size()];
        long[] offsets = new long[files.size()];
        long[] lengths = new long[files.size()];
        for (BundleFile each : files) {
            descriptors[paths.size()] = each.descriptor;
            offsets[paths.size()] = each.offset;
            lengths[paths.size()] = each.length;
            paths.add(each.path);
        }
        byte[] names = Native.texts(paths, "path");
        byte[] device = Native.text(how.device, "device");
        return new SamClip(Native.loadFiles(names, descriptors, offsets, lengths, how.threads, device));
    }

    /** The input sizes that the bundle holds, rising. */
    public List<Size> sizes() {
        int[] sides = handle.ask(Native::sizes);
        List<Size> sizes = new ArrayList<>();
        for (int at = 0; at < sides.length; at += 2) {
            sizes.add(new Size(sides[at], sides[at + 1]));
        }
        return sizes;
    }

    /** The size at which photos are named. */
    public Size namesSize() {
        int[] sides = handle.ask(Native::namesSize);
        return new Size(sides[0], sides[1]);
    }

    /** Begin to open the graphs of masks at a size in threads, while a photo is read. size: null is the largest. */
    public void prepare(Size size) {
        handle.ask(model -> {
            Native.prepare(model, Size.sides(size));
            return null;
        });
    }

    /** Encode a picture at the largest size, once. What the scene is asked does not run the encoder again. */
    public Scene look(Image image) {
        return look(image, null, null);
    }

    public Scene look(Image image, Size size, Task task) {
        List<Image> one = Collections.singletonList(image);
        return Task.with(task, running -> handle.ask(model -> {
            long scene = Native.look(model, Image.numbers(one), Image.buffers(one), Size.sides(size), running);
            return new Scene(scene, Native.features(model));
        }));
    }

    /** Pictures in CLIP's space: (images,E), each of length 1. size: at which they are looked at; null: `namesSize`. */
    public float[][] embed(List<Image> images, Size size, Task task) {
        return Task.with(task, running -> handle.ask(model -> Native.rows(
                Native.embed(model, Image.numbers(images), Image.buffers(images), Size.sides(size), running),
                images.size())));
    }

    /** Texts as they stand in CLIP's space: (texts,E); names, where the bundle holds a vocabulary. */
    public float[][] embedText(List<String> texts, Task task) {
        byte[] joined = Native.texts(texts, "texts");
        return Task.with(task, running -> handle.ask(
                model -> Native.rows(Native.embedText(model, joined, running), texts.size())));
    }

    /** Pictures by how well they fit a text, best first. size: see `embed`. */
    public List<Ranked> rank(List<Image> images, String text, Size size, Task task) {
        byte[] wanted = Native.text(text, "text");
        double[] found = Task.with(task, running -> handle.ask(model -> Native.rank(
                model, Image.numbers(images), Image.buffers(images), wanted, Size.sides(size), running)));
        List<Ranked> ranked = new ArrayList<>();
        for (int at = 0; at < found.length; at += 2) {
            ranked.add(new Ranked((int) found[at], found[at + 1]));
        }
        return ranked;
    }

    /** Waits for the calls that run. The scenes that came of it stay. */
    @Override
    public void close() {
        handle.close();
    }
}
