package edge.samclip;

import java.nio.charset.StandardCharsets;
import java.util.function.LongFunction;

/** Progress and cancelling of the calls that it is given to. Close it after them. */
public final class Task implements AutoCloseable {
    /** Told of the steps of a long call, in the thread of that call. */
    public interface Listener {
        /** Before each step, and once at the end (done == total). What it throws ends the call, and is thrown there. */
        void onStep(String what, long done, long total);
    }

    private final Listener listener;
    private final Handle handle;

    /** listener: null for cancelling alone. */
    public Task(Listener listener) {
        this.listener = listener;
        this.handle = new Handle("Task", Native.makeTask(this), Native::freeTask);
    }

    /** From any thread: calls with this task end soon with CANCELLED, for ever after. */
    public void cancel() {
        handle.ask(task -> {
            Native.cancel(task);
            return null;
        });
    }

    public boolean isCancelled() {
        return handle.ask(Native::cancelled);
    }

    /** Waits for the calls that it was given to. */
    @Override
    public void close() {
        handle.close();
    }

    /** Call with the address of a task, or with 0 for null. */
    static <T> T with(Task task, LongFunction<T> call) {
        return task == null ? call.apply(0) : task.handle.ask(call);
    }

    /** Called from C. */
    private void step(byte[] what, long done, long total) {
        if (listener != null) {
            listener.onStep(new String(what, StandardCharsets.UTF_8), done, total);
        }
    }
}
