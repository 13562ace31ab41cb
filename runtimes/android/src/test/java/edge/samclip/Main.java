package edge.samclip;

import java.io.IOException;
import java.nio.file.Path;
import java.nio.file.Paths;

/** Runs all tests: `Main FOLDER`, where `expected.py` wrote its answers. Exits with 1 where one failed. */
final class Main {
    private Main() {}

    public static void main(String[] folders) throws IOException {
        for (String bundle : new String[] {"photo", "tiny"}) {
            System.out.println("-- " + bundle);
            Path folder = Paths.get(folders[0], bundle);
            Expected expected = new Expected(folder);
            new AnswersTest(expected).run();
            new PicturesTest(expected).run();
            new LifeTest(expected).run();
        }
        System.exit(Check.summary() ? 0 : 1);
    }
}
