package edge.samclip;

import static edge.samclip.Expected.LABELS;
import static edge.samclip.Expected.SIZE;
import static edge.samclip.Expected.number;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;

/** The answers for a bundle are those of the Python package. */
final class AnswersTest {
    private final Expected expected;

    AnswersTest(Expected expected) {
        this.expected = expected;
    }

    void run() {
        Check.run("model", this::model);
        Check.run("errors", this::errors);
        Check.run("classify", () -> onScene(this::classify));
        Check.run("segment", () -> onScene(this::segment));
        Check.run("find", () -> onScene(this::find));
        Check.run("everything", () -> onScene(this::everything));
        Check.run("draw and RLE", () -> onScene(this::draw));
        Check.run("features", this::features);
    }

    private interface SceneTest {
        void run(Scene scene) throws IOException;
    }

    private void onScene(SceneTest test) throws IOException {
        try (SamClip model = expected.load();
                Scene scene = model.look(expected.photo(0), SIZE, null)) {
            test.run(scene);
        }
    }

    private void model() {
        try (SamClip model = expected.load()) {
            Check.same(expected.one("sizes").toString(), model.sizes().toString(), "sizes");
            Check.same(expected.one("names size").get(0), model.namesSize().toString(), "names size");
            model.prepare(SIZE);
        }
    }

    private void errors() throws IOException {
        Class<SamClipException> input = SamClipException.class;
        Check.fails(input, expected.error("folder"), () -> SamClip.load("no such folder"));
        try (SamClip model = expected.load()) {
            Image photo = expected.photo(0);
            Check.fails(input, expected.error("size"), () -> model.look(photo, new Size(304, 304), null));
            try (Scene scene = model.look(photo, SIZE, null)) {
                String outside = expected.error("outside");
                Prompts beside = Prompts.point(scene.size().width + 1, scene.size().height / 2.0);
                Check.fails(input, outside, () -> scene.segment(beside));
                Check.fails(input, expected.error("no label"), () -> scene.classify(Collections.emptyList()));
                Check.fails(input, "points: give x and y", () -> scene.segment(new Prompts(1).points(2, 1, 1)));
                Check.fails(input, "labels: give as many", () -> scene.segment(Prompts.point(1, 1).labels(1, 1)));
                Check.fails(input, "boxes: give x0", () -> scene.segment(new Prompts(2).boxes(1, 1, 9, 9)));
                Check.fails(input, "mask: give the logits", () -> scene.segment(Prompts.point(1, 1).masks(0)));
                Check.fails(input, "labels: is null", () -> scene.classify(Arrays.asList("a\0b")));
            }
        }
    }

    private void classify(Scene scene) {
        List<List<String>> wanted = expected.all("guess");
        List<Guess> found = scene.classify(LABELS);
        Check.same(wanted.size(), found.size(), "guesses");
        for (int k = 0; k < wanted.size(); k++) {
            Check.same(wanted.get(k).get(0), found.get(k).label, "guess " + k);
            Check.near(number(wanted.get(k).get(1)), found.get(k).score, 1e-3, "score " + k);
            Check.near(number(wanted.get(k).get(2)), found.get(k).similarity, 1e-3, "similarity " + k);
            Check.near(number(wanted.get(k).get(3)), found.get(k).share, 1e-3, "share " + k);
        }
    }

    private void segment(Scene scene) throws IOException {
        Prompts click = expected.click();
        Naming lenient = new Naming();
        lenient.minScore = 0.01;
        try (Masks masks = scene.segment(click);
                Masks again = scene.segment(click.masks(masks.get(0).logits()))) {
            expected.checkMasks("click", masks);
            expected.checkMasks("again", again);
            expected.checkRow("mask features", masks.features(null)[0], 1e-3);
            Mask before = masks.get(0);
            masks.name(LABELS, lenient, null);
            expected.checkMasks("named", masks);
            Check.that(before.label() == null, "a mask that was taken before has no name");
        }
        double[] box = expected.numbers("box");
        try (Masks masks = scene.segment(Prompts.box(box[0], box[1], box[2], box[3]))) {
            expected.checkMasks("box", masks);
        }
        double[] on = expected.numbers("click");
        double[] off = expected.numbers("other");
        Prompts two = new Prompts(2)
                .points(2, on[0], on[1], off[0], off[1], off[0], off[1], on[0], on[1])
                .labels(1, 0, 1, 0);
        try (Masks masks = scene.segment(two)) {
            expected.checkMasks("two", masks);
        }
        try (Masks masks = scene.segmentAll(expected.click())) {
            expected.checkMasks("all", masks);
        }
    }

    private void find(Scene scene) throws IOException {
        try (Masks masks = scene.find(LABELS)) {
            expected.checkMasks("find", masks);
        }
        Finding map = new Finding();
        map.refine = false;
        map.naming.minScore = 0.1;
        try (Masks masks = scene.find(LABELS, map, null)) {
            expected.checkMasks("map", masks);
            Check.that(masks.get(0).logits() == null || masks.get(0).logits().length > 0, "logits of a map");
        }
    }

    private void everything(Scene scene) throws IOException {
        Grid grid = Expected.grid();
        try (Masks masks = scene.everything(null, null, grid, null)) {
            expected.checkMasks("everything", masks);
        }
        Naming naming = new Naming();
        naming.minScore = 0.01;
        naming.background = Collections.singletonList("wall");
        try (Masks masks = scene.everything(LABELS, naming, grid, null)) {
            expected.checkMasks("every name", masks);
        }
    }

    private void draw(Scene scene) {
        try (Masks masks = scene.segment(expected.click())) {
            Mask mask = masks.get(0);
            int width = mask.width();
            byte[] bits = mask.draw((byte) 1);
            Check.that(Arrays.equals(bits, decoded(mask.rle(), width, mask.height())), "RLE and bits");
            int stride = width + 5;
            ByteBuffer pixels = ByteBuffer.allocateDirect(3 + stride * (mask.height() - 1) + width);
            pixels.position(3);
            mask.draw((byte) 200, pixels, stride);
            boolean same = pixels.get(2) == 0;
            for (int k = 0; k < bits.length; k++) {
                same &= pixels.get(3 + k / width * stride + k % width) == (bits[k] == 1 ? (byte) 200 : 0);
            }
            Check.that(same, "drawn into a buffer with gaps");
            Class<SamClipException> input = SamClipException.class;
            pixels.position(4);
            Check.fails(input, "pixels: the buffer or its row stride", () -> mask.draw((byte) 1, pixels, stride));
            Check.fails(input, "pixels: the buffer or its row stride", () -> mask.draw((byte) 1, pixels, width - 1));
            Check.fails(input, "pixels: is no direct", () -> mask.draw((byte) 1, ByteBuffer.allocate(1 << 20), 0));
        }
    }

    /** As COCO's `rleFrString` and `rleDecode` have it: runs down the columns, from the third on as differences. */
    private static byte[] decoded(String rle, int width, int height) {
        byte[] bits = new byte[width * height];
        List<Integer> runs = new ArrayList<>();
        int at = 0;
        for (int place = 0; place < rle.length(); ) {
            int run = 0;
            int shift = 0;
            int digit;
            do {
                digit = rle.charAt(place++) - 48;
                run |= (digit & 0x1f) << shift;
                shift += 5;
            } while ((digit & 0x20) != 0);
            if ((digit & 0x10) != 0) {
                run |= -1 << shift;
            }
            run += runs.size() > 2 ? runs.get(runs.size() - 2) : 0;
            for (int k = 0; k < run; k++, at++) {
                bits[at % height * width + at / height] = (byte) (runs.size() % 2);
            }
            runs.add(run);
        }
        return bits;
    }

    private void features() throws IOException {
        List<Image> photos = new ArrayList<>();
        for (int k = 0; k < expected.all("photo").size(); k++) {
            photos.add(expected.photo(k));
        }
        try (SamClip model = expected.load();
                Scene scene = model.look(photos.get(0), SIZE, null)) {
            expected.checkRow("image features", scene.imageFeatures(null), 1e-3);
            expected.checkRows("embed", model.embed(photos, SIZE, null), 1e-3);
            expected.checkRows("embed text", model.embedText(LABELS, null), 1e-3);
            List<SamClip.Ranked> ranked = model.rank(photos, "a cup of coffee", SIZE, null);
            List<List<String>> wanted = expected.all("rank");
            Check.same(wanted.size(), ranked.size(), "rank");
            for (int k = 0; k < wanted.size(); k++) {
                Check.same(Expected.whole(wanted.get(k).get(0)), ranked.get(k).index, "rank " + k);
                Check.near(number(wanted.get(k).get(1)), ranked.get(k).similarity, 1e-3, "rank " + k);
            }
        }
    }
}
