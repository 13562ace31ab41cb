package edge.samclip;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * A photo that was looked at, and what it can be asked, from many threads at once. It keeps its model. Close it.
 *
 * <p>Coordinates in and masks out are in pixels of the upright photo. Naming, Finding, Grid and Task may be null: as
 * Python's defaults. Bad input throws SamClipException.
 */
public final class Scene implements AutoCloseable {
    private final Handle handle;
    private final int features;
    private final Size size;
    private final Size logitsSize;

    /** features: E. */
    Scene(long address, int features) {
        this.features = features;
        handle = new Handle("Scene", address, Native::freeScene);
        int[] sides = Native.sides(address);
        size = new Size(sides[0], sides[1]);
        logitsSize = new Size(sides[2], sides[3]);
    }

    /** Of the upright photo. */
    public Size size() {
        return size;
    }

    /** Of a mask's logits: a quarter of the model's input. */
    public Size logitsSize() {
        return logitsSize;
    }

    /** Name the photo: all labels, the most similar first. */
    public List<Guess> classify(List<String> labels) {
        return classify(labels, null, null);
    }

    public List<Guess> classify(List<String> labels, Naming naming, Task task) {
        byte[] names = Native.texts(labels, "labels");
        byte[] background = Naming.background(naming);
        long guesses = Task.with(task, running -> handle.ask(
                scene -> Native.classify(scene, names, background, Naming.minScore(naming), running)));
        try {
            return guesses(Native.split(Native.guessLabels(guesses)), Native.guessNumbers(guesses));
        } finally {
            Native.freeGuesses(guesses);
        }
    }

    private static List<Guess> guesses(List<String> labels, double[] numbers) {
        List<Guess> guesses = new ArrayList<>();
        for (int k = 0; k < labels.size(); k++) {
            guesses.add(new Guess(labels.get(k), numbers[3 * k], numbers[3 * k + 1], numbers[3 * k + 2]));
        }
        return guesses;
    }

    /** The best mask of each prompt. */
    public Masks segment(Prompts prompts) {
        return segment(prompts, false, null);
    }

    public Masks segment(Prompts prompts, Task task) {
        return segment(prompts, false, task);
    }

    /** The three masks of each prompt, highest predicted IoU first: mask 3 * b + k is the k-th of prompt b. */
    public Masks segmentAll(Prompts prompts) {
        return segment(prompts, true, null);
    }

    public Masks segmentAll(Prompts prompts, Task task) {
        return segment(prompts, true, task);
    }

    private Masks segment(Prompts p, boolean all, Task task) {
        return masks(Task.with(task, running -> handle.ask(scene -> Native.segment(
                scene, all, p.count, p.pointsEach, p.points, p.labels, p.boxes, p.masks, running))));
    }

    /** Where the named things are: one mask a name that is seen, highest score first, none overlapping. */
    public Masks find(List<String> labels) {
        return find(labels, null, null);
    }

    public Masks find(List<String> labels, Finding finding, Task task) {
        Finding how = finding == null ? new Finding() : finding;
        byte[] names = Native.texts(labels, "labels");
        byte[] background = Naming.background(how.naming);
        double least = Naming.minScore(how.naming);
        double[] grid = Grid.numbers(how.grid);
        return masks(Task.with(task, running -> handle.ask(scene -> Native.find(
                scene, names, background, least, how.refine, how.points, how.threshold, grid, running))));
    }

    /** Every mask in the photo, best first, without names; see `Masks.name`. */
    public Masks everything() {
        return everything(null, null, null, null);
    }

    /** labels: each mask is named by the one that fits it best, or by none where no chance is enough. */
    public Masks everything(List<String> labels, Naming naming, Grid grid, Task task) {
        byte[] names = Native.texts(labels == null ? Collections.emptyList() : labels, "labels");
        byte[] background = Naming.background(naming);
        double[] clicks = Grid.numbers(grid);
        return masks(Task.with(task, running -> handle.ask(scene ->
                Native.everything(scene, names, background, Naming.minScore(naming), clicks, running))));
    }

    /** The photo in CLIP's space: E numbers of length 1. task: may be null. */
    public float[] imageFeatures(Task task) {
        return Task.with(task, running -> handle.ask(scene -> Native.imageFeatures(scene, features, running)));
    }

    private Masks masks(long address) {
        return new Masks(address, logitsSize.width * logitsSize.height, features);
    }

    /** Waits for the calls that run. The masks that came of it stay. */
    @Override
    public void close() {
        handle.close();
    }
}
