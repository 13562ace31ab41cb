package edge.samclip;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The functions of C++ in `src/main/cpp`, which call those of `samclip_edge.h`. Handles are addresses. Texts are UTF-8,
 * since JNI's own strings are not; of several, each ends with a 0. A size is null, or width and height.
 */
final class Native {
    static {
        System.loadLibrary("samclip_edge_jni");
    }

    private Native() {}

    static native long load(byte[] folder, int threads, byte[] device);

    static native long loadFiles(
            byte[] paths, int[] descriptors, long[] offsets, long[] lengths, int threads, byte[] device);

    static native void freeModel(long model);

    static native int[] sizes(long model);

    static native int[] namesSize(long model);

    static native int features(long model);

    static native void prepare(long model, int[] size);

    static native long look(long model, int[] images, ByteBuffer[] planes, int[] size, long task);

    static native float[] embed(long model, int[] images, ByteBuffer[] planes, int[] size, long task);

    static native float[] embedText(long model, byte[] texts, long task);

    /** Index and similarity of each picture by turns, best first. */
    static native double[] rank(long model, int[] images, ByteBuffer[] planes, byte[] text, int[] size, long task);

    static native void freeScene(long scene);

    /** Width and height of the photo, and of a mask's logits. */
    static native int[] sides(long scene);

    static native float[] imageFeatures(long scene, int features, long task);

    static native long classify(long scene, byte[] labels, byte[] background, double minScore, long task);

    static native byte[] guessLabels(long guesses);

    /** Score, similarity and share of each guess by turns. */
    static native double[] guessNumbers(long guesses);

    static native void freeGuesses(long guesses);

    static native long segment(
            long scene,
            boolean all,
            int prompts,
            int pointsEach,
            double[] points,
            int[] labels,
            double[] boxes,
            float[] masks,
            long task);

    static native long find(
            long scene,
            byte[] labels,
            byte[] background,
            double minScore,
            boolean refine,
            int points,
            double threshold,
            double[] grid,
            long task);

    static native long everything(
            long scene, byte[] labels, byte[] background, double minScore, double[] grid, long task);

    static native void name(long masks, byte[] labels, byte[] background, double minScore, long task);

    static native int maskCount(long masks);

    /** width, height, area, box (4), predicted IoU, score, similarity, point (2). */
    static native double[] maskNumbers(long masks, int index);

    /** Null without one. */
    static native byte[] maskLabel(long masks, int index);

    static native byte[] maskRle(long masks, int index);

    /** Null without. length: width times height of the logits. */
    static native float[] maskLogits(long masks, int index, int length);

    static native void draw(long masks, int index, byte inside, ByteBuffer pixels, int rowStride);

    static native byte[] drawn(long masks, int index, byte inside);

    static native float[] maskFeatures(long masks, int features, long task);

    static native void freeMasks(long masks);

    static native long makeTask(Task task);

    static native void cancel(long task);

    static native boolean cancelled(long task);

    static native void freeTask(long task);

    /** A text, and the 0 at which C ends it. what: its name in the message of SamClipException, where it has a 0. */
    static byte[] text(String text, String what) {
        if (text == null || text.indexOf(0) >= 0) {
            throw new SamClipException(what + ": is null or holds the character 0; give a text without");
        }
        return (text + '\0').getBytes(StandardCharsets.UTF_8);
    }

    static byte[] texts(List<String> texts, String what) {
        ByteArrayOutputStream joined = new ByteArrayOutputStream();
        for (String each : texts) {
            byte[] bytes = text(each, what);
            joined.write(bytes, 0, bytes.length);
        }
        return joined.toByteArray();
    }

    static List<String> split(byte[] joined) {
        List<String> texts = new ArrayList<>();
        for (int start = 0, end = 0; end < joined.length; end++) {
            if (joined[end] == 0) {
                texts.add(new String(joined, start, end - start, StandardCharsets.UTF_8));
                start = end + 1;
            }
        }
        return texts;
    }

    /** (count,features) of what C wrote one after another. */
    static float[][] rows(float[] flat, int count) {
        float[][] rows = new float[count][count == 0 ? 0 : flat.length / count];
        for (int row = 0; row < count; row++) {
            System.arraycopy(flat, row * rows[row].length, rows[row], 0, rows[row].length);
        }
        return rows;
    }
}
