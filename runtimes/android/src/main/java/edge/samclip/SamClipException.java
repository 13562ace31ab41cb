package edge.samclip;

import java.nio.charset.StandardCharsets;

/** What went wrong: the line that Python's exception has, and which kind it is. */
public final class SamClipException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** The kinds, in the order of `samclip_edge.h`'s status from 1 on. */
    public enum Code {
        /** Bad input, which a user can mend: Python's InputError. */
        INPUT,
        /** A file of the bundle is not the one that its manifest describes: ChecksumError. */
        CHECKSUM,
        /** The engine failed on a graph. */
        ENGINE,
        /** There was not enough memory. */
        MEMORY,
        /** The task was cancelled. */
        CANCELLED,
        /** A fault of the library. */
        FAULT
    }

    private final Code code;

    /** Called from C: status as in `samclip_edge.h`, line in UTF-8. */
    SamClipException(int status, byte[] line) {
        super(new String(line, StandardCharsets.UTF_8));
        Code[] codes = Code.values();
        code = status >= 1 && status <= codes.length ? codes[status - 1] : Code.FAULT;
    }

    SamClipException(String line) {
        super(line);
        code = Code.INPUT;
    }

    public Code code() {
        return code;
    }
}
