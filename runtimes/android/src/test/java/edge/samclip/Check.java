package edge.samclip;

/** Checks that are counted: `passed` and `failed`. */
final class Check {
    private static int passed;
    private static int failed;

    private Check() {}

    /** A test, which may throw what it likes. */
    interface Test {
        void run() throws Exception;
    }

    static void that(boolean holds, String what) {
        if (holds) {
            passed++;
        } else {
            failed++;
            System.out.println("FAILED: " + what);
        }
    }

    static void same(Object wanted, Object found, String what) {
        that(wanted.equals(found), what + ": wanted " + wanted + ", found " + found);
    }

    /** Not a number equals itself. */
    static void near(double wanted, double found, double within, String what) {
        boolean both = Double.isNaN(wanted) && Double.isNaN(found);
        that(both || Math.abs(wanted - found) <= within, what + ": wanted " + wanted + ", found " + found);
    }

    /** The line of what a call throws begins like this. */
    static void fails(Class<? extends Exception> kind, String line, Test call) {
        try {
            call.run();
            that(false, "no " + kind.getSimpleName() + ": " + line);
        } catch (Exception error) {
            boolean right = kind.isInstance(error) && String.valueOf(error.getMessage()).startsWith(line);
            that(right, "wanted " + kind.getSimpleName() + ": " + line + ", found " + error);
        }
    }

    /** Run a test; what it throws is a failure. */
    static void run(String name, Test test) {
        int before = failed;
        try {
            test.run();
        } catch (Exception | LinkageError | AssertionError error) {
            failed++;
            error.printStackTrace(System.out);
        }
        System.out.println((failed == before ? "ok     " : "FAILED ") + name);
    }

    /** The last line. Whether all passed. */
    static boolean summary() {
        System.out.println(passed + " passed, " + failed + " failed");
        return failed == 0 && passed > 0;
    }
}
