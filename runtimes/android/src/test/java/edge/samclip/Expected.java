package edge.samclip;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What `expected.py` wrote for one bundle: the pictures, and the Python package's answers. */
final class Expected {
    static final Size SIZE = new Size(256, 256);
    static final List<String> LABELS =
            Arrays.asList("cat", "coffee cup", "日本の猫", "tabby 🐈", "Küche", "blue heart", "orange star");

    private final Path folder;
    private final List<List<String>> records = new ArrayList<>();

    Expected(Path folder) throws IOException {
        this.folder = folder;
        for (String line : Files.readAllLines(folder.resolve("answers.tsv"))) {
            records.add(Arrays.asList(line.split("\t", -1)));
        }
    }

    /** The values of the records of a kind. Fails where there is none. */
    List<List<String>> all(String kind) {
        List<List<String>> found = new ArrayList<>();
        for (List<String> record : records) {
            if (record.get(0).equals(kind)) {
                found.add(record.subList(1, record.size()));
            }
        }
        return found;
    }

    List<String> one(String kind) {
        return all(kind).get(0);
    }

    String error(String which) {
        for (List<String> record : all("error")) {
            if (record.get(0).equals(which)) {
                return record.get(1);
            }
        }
        throw new AssertionError("no error " + which);
    }

    String bundle() {
        return one("bundle").get(0);
    }

    SamClip load() {
        return SamClip.load(bundle());
    }

    byte[] bytes(String name) throws IOException {
        return Files.readAllBytes(folder.resolve(name));
    }

    /** The numbers of "click", "other" or "box". */
    double[] numbers(String kind) {
        return one(kind).stream().mapToDouble(Double::parseDouble).toArray();
    }

    Prompts click() {
        return new Prompts(1).points(1, numbers("click"));
    }

    /** Of `expected.py`'s settings. */
    static Grid grid() {
        Grid grid = new Grid();
        grid.pointsPerSide = 8;
        grid.predictedIou = 0.4;
        grid.stability = 0.8;
        return grid;
    }

    /** A photo in RGB. */
    Image photo(int index) throws IOException {
        List<String> sides = all("photo").get(index);
        return Image.packed(Image.Format.RGB, whole(sides.get(0)), whole(sides.get(1)), direct(bytes(index + ".rgb")));
    }

    static ByteBuffer direct(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(bytes.length);
        buffer.put(bytes);
        buffer.rewind();
        return buffer;
    }

    static int whole(String value) {
        return Integer.parseInt(value);
    }

    /** Empty is not a number. */
    static double number(String value) {
        return value.isEmpty() ? Double.NaN : Double.parseDouble(value);
    }

    /** Masks and the order of them, their bits, names and numbers, as Python has them. */
    void checkMasks(String task, List<Mask> found) throws IOException {
        List<List<String>> wanted = all("mask " + task);
        Check.same(wanted.size(), found.size(), task + ": masks");
        for (int k = 0; k < Math.min(wanted.size(), found.size()); k++) {
            List<String> record = wanted.get(k);
            Mask mask = found.get(k);
            String what = task + " " + k;
            byte[] bits = mask.draw((byte) 1);
            Check.that(iou(bytes(task + "-" + k + ".mask"), bits) >= 0.995, what + ": IoU");
            Check.near(whole(record.get(0)), mask.area(), 0.005 * whole(record.get(0)), what + ": area");
            Check.same(sum(bits), mask.area(), what + ": area of its bits");
            for (int side = 0; side < 4; side++) {
                Check.near(whole(record.get(1 + side)), mask.box()[side], 2, what + ": box");
            }
            Check.near(number(record.get(5)), mask.predictedIou(), 1e-3, what + ": predicted IoU");
            Check.same(record.get(6), mask.label() == null ? "" : mask.label(), what + ": label");
            Check.near(number(record.get(7)), mask.score(), 1e-3, what + ": score");
            Check.near(number(record.get(8)), mask.similarity(), 1e-3, what + ": similarity");
            for (int side = 0; side < 2; side++) {
                double place = mask.point() == null ? Double.NaN : mask.point()[side];
                Check.near(number(record.get(9 + side)), place, 1e-9, what + ": point");
            }
        }
    }

    void checkRow(String kind, float[] found, double within) {
        checkRows(kind, new float[][] {found}, within);
    }

    /** Features, as Python has them. */
    void checkRows(String kind, float[][] found, double within) {
        List<List<String>> wanted = all(kind);
        Check.same(wanted.size(), found.length, kind);
        for (int k = 0; k < Math.min(wanted.size(), found.length); k++) {
            Check.same(wanted.get(k).size(), found[k].length, kind + ": length");
            double worst = 0;
            for (int at = 0; at < Math.min(wanted.get(k).size(), found[k].length); at++) {
                worst = Math.max(worst, Math.abs(number(wanted.get(k).get(at)) - found[k][at]));
            }
            Check.near(0, worst, within, kind + " " + k);
        }
    }

    static long sum(byte[] bits) {
        long sum = 0;
        for (byte bit : bits) {
            sum += bit;
        }
        return sum;
    }

    /** Of two masks of zeros and ones; 1 where both are empty. */
    static double iou(byte[] left, byte[] right) {
        if (left.length != right.length) {
            return 0;
        }
        long both = 0;
        long any = 0;
        for (int k = 0; k < left.length; k++) {
            both += left[k] & right[k];
            any += left[k] | right[k];
        }
        return any == 0 ? 1 : (double) both / any;
    }
}
