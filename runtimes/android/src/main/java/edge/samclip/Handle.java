package edge.samclip;

import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongConsumer;
import java.util.function.LongFunction;

/** What the native library made, by its address. Calls may run at once; closing waits for them, and is done once. */
final class Handle {
    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private final String name;
    private final LongConsumer free;
    private long address; // 0: closed

    /** name: of the class, for messages. free: what frees the address. */
    Handle(String name, long address, LongConsumer free) {
        this.name = name;
        this.address = address;
        this.free = free;
    }

    /** Call with the address, beside other such calls. Throws IllegalStateException after `close`. */
    <T> T ask(LongFunction<T> call) {
        return locked(lock.readLock(), call);
    }

    /** Call with the address while no other call runs. Throws IllegalStateException after `close`. */
    <T> T change(LongFunction<T> call) {
        return locked(alone(), call);
    }

    /** Wait for the calls that run, then free. A second time does nothing. */
    void close() {
        Lock alone = alone();
        alone.lock();
        try {
            if (address != 0) {
                free.accept(address);
                address = 0;
            }
        } finally {
            alone.unlock();
        }
    }

    private <T> T locked(Lock mine, LongFunction<T> call) {
        mine.lock();
        try {
            if (address == 0) {
                throw new IllegalStateException(name + ": is closed");
            }
            return call.apply(address);
        } finally {
            mine.unlock();
        }
    }

    /** A thread that runs a call, as a listener does, would wait for itself. */
    private Lock alone() {
        if (lock.getReadHoldCount() > 0) {
            throw new IllegalStateException(name + ": a call on it runs in this thread; do this after the call");
        }
        return lock.writeLock();
    }
}
