package edge.samclip;

import static edge.samclip.Expected.LABELS;
import static edge.samclip.Expected.SIZE;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** Bundles in other files, closing, threads, progress and cancelling. */
final class LifeTest {
    private static final Class<IllegalStateException> STATE = IllegalStateException.class;
    private final Expected expected;

    LifeTest(Expected expected) {
        this.expected = expected;
    }

    void run() {
        Check.run("a bundle inside another file", this::descriptors);
        Check.run("closing", this::closing);
        Check.run("closing while a call runs", this::closingMeanwhile);
        Check.run("threads", this::threads);
        Check.run("progress", this::progress);
        Check.run("cancelling", this::cancelling);
    }

    /** The files of the bundle one after another, as assets lie in a package. */
    private void descriptors() throws IOException {
        Check.fails(SamClipException.class, "", () -> SamClip.load(Collections.emptyList(), null));
        Path whole = Files.createTempFile("bundle", ".bin").toRealPath();
        try (SamClip model = loadJoined(whole); // whose descriptor is closed by now
                Scene scene = model.look(expected.photo(0), SIZE, null);
                Masks masks = scene.find(LABELS)) {
            expected.checkMasks("find", masks);
        } finally {
            Files.delete(whole);
        }
    }

    private SamClip loadJoined(Path whole) throws IOException {
        ByteArrayOutputStream joined = new ByteArrayOutputStream();
        List<BundleFile> files = new ArrayList<>();
        joined.write(new byte[13]); // so that no file begins at a page
        try (FileInputStream open = new FileInputStream(whole.toFile())) {
            for (File each : new File(expected.bundle()).listFiles(File::isFile)) {
                files.add(new BundleFile(each.getName(), descriptorOf(whole), joined.size(), each.length()));
                joined.write(Files.readAllBytes(each.toPath()));
            }
            Files.write(whole, joined.toByteArray());
            Check.that(open.available() > 0, "the file is open");
            return SamClip.load(files, null);
        }
    }

    /** Java tells no descriptor; Linux does. */
    private static int descriptorOf(Path file) throws IOException {
        for (File each : new File("/proc/self/fd").listFiles()) {
            Path link = each.toPath();
            if (Files.exists(link) && Files.readSymbolicLink(link).equals(file)) {
                return Integer.parseInt(each.getName());
            }
        }
        throw new AssertionError("no descriptor of " + file);
    }

    private void closing() throws IOException {
        SamClip model = expected.load();
        Scene scene = model.look(expected.photo(0), SIZE, null);
        model.close();
        model.close();
        Check.fails(STATE, "SamClip: is closed", model::sizes);
        Check.fails(STATE, "SamClip: is closed", () -> model.look(expected.photo(0)));
        Masks masks = scene.segment(expected.click());
        expected.checkMasks("click", masks); // though the model is closed
        Check.same(LABELS.size(), scene.classify(LABELS).size(), "guesses of a closed model's scene");
        scene.close();
        Check.fails(STATE, "Scene: is closed", () -> scene.segment(Prompts.point(1, 1)));
        masks.name(LABELS);
        Check.that(masks.get(0).logits().length > 0, "logits, though the scene is closed");
        Mask mask = masks.get(0);
        masks.close();
        masks.close();
        scene.close();
        Check.fails(STATE, "Masks: is closed", mask::logits);
        Check.fails(STATE, "Masks: is closed", () -> mask.draw((byte) 1));
        Check.that(mask.area() > 0 && !mask.rle().isEmpty(), "values stay");
        Task task = new Task(null);
        task.close();
        Check.fails(STATE, "Task: is closed", task::cancel);
    }

    /** The call ends first. From within the call itself, closing is refused. */
    private void closingMeanwhile() throws Exception {
        try (SamClip model = expected.load()) {
            Scene scene = model.look(expected.photo(0), SIZE, null);
            AtomicReference<Thread> closer = new AtomicReference<>();
            Task.Listener listener = (what, done, total) -> {
                if (closer.get() == null) {
                    Check.fails(STATE, "Scene: a call on it runs", scene::close);
                    closer.set(new Thread(scene::close));
                    closer.get().start();
                    while (closer.get().isAlive() && closer.get().getState() != Thread.State.WAITING) {
                        Thread.yield();
                    }
                }
                Check.that(closer.get().isAlive(), "close waits");
            };
            try (Task task = new Task(listener);
                    Masks masks = scene.everything(null, null, Expected.grid(), task)) {
                closer.get().join();
                Check.same(expected.all("mask everything").size(), masks.size(), "masks of the call");
            }
            Check.fails(STATE, "Scene: is closed", scene::everything);
        }
    }

    /** Each thread clicks elsewhere, and gets the masks that it gets alone. */
    private void threads() throws Exception {
        try (SamClip model = expected.load();
                Scene scene = model.look(expected.photo(0), SIZE, null)) {
            List<String> wanted = new ArrayList<>();
            for (int k = 0; k < 4; k++) {
                wanted.add(clicked(scene, k));
            }
            List<String> found = Collections.synchronizedList(new ArrayList<>());
            List<Thread> threads = new ArrayList<>();
            for (int k = 0; k < 4; k++) {
                int place = k;
                threads.add(new Thread(() -> {
                    for (int turn = 0; turn < 5; turn++) {
                        found.add(wanted.get(place).equals(clicked(scene, place)) ? "same" : "another mask");
                    }
                }));
            }
            for (Thread each : threads) {
                each.start();
            }
            for (Thread each : threads) {
                each.join();
            }
            Check.same(Collections.nCopies(20, "same"), found, "masks of four threads");
        }
    }

    private static String clicked(Scene scene, int place) {
        try (Masks masks = scene.segment(Prompts.point(60 + 90 * place, 150))) {
            return masks.get(0).rle();
        }
    }

    private void progress() throws IOException {
        List<String> told = new ArrayList<>();
        List<Long> ends = new ArrayList<>();
        Task.Listener listener = (what, done, total) -> {
            told.add(what);
            Check.that(done >= 0 && done <= total, "step " + done + " of " + total);
            if (done == total) {
                ends.add(total);
            }
        };
        try (SamClip model = expected.load();
                Scene scene = model.look(expected.photo(0), SIZE, null);
                Task task = new Task(listener);
                Masks masks = scene.everything(null, null, Expected.grid(), task)) {
            Check.that(masks != null && !task.isCancelled(), "nobody cancelled");
            Check.that(told.contains("clicking everywhere"), "what is done: " + told);
            Check.same(4L, ends.get(ends.size() - 1), "64 clicks in calls of 16");
        }
    }

    private void cancelling() throws IOException {
        try (SamClip model = expected.load();
                Scene scene = model.look(expected.photo(0), SIZE, null)) {
            AtomicReference<Task> task = new AtomicReference<>();
            List<Long> steps = new ArrayList<>();
            task.set(new Task((what, done, total) -> {
                steps.add(done);
                task.get().cancel();
            }));
            try {
                scene.everything(null, null, Expected.grid(), task.get()).close();
                Check.that(false, "a cancelled call gave masks");
            } catch (SamClipException error) {
                Check.same(SamClipException.Code.CANCELLED, error.code(), "code");
            }
            Check.same(1, steps.size(), "steps of a call that was cancelled in the first");
            Check.that(task.get().isCancelled(), "cancelled");
            Check.fails(SamClipException.class, "", () -> scene.find(LABELS, null, task.get()));
            task.get().close();
            Task.Listener angry = (what, done, total) -> {
                throw new UnsupportedOperationException("the listener's own");
            };
            try (Task failing = new Task(angry)) {
                Check.fails(UnsupportedOperationException.class, "the listener's own", () -> scene.everything(
                        null, null, Expected.grid(), failing));
            }
        }
    }
}
