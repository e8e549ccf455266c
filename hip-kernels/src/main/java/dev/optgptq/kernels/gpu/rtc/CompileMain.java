package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.ChildJava;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * The process that compiles one kernel source. Arguments: hip or cuda, the source's name, the file to write, the
 * compiler's options. The source comes on standard input, its length in bytes before it, and when that input ends the
 * process ends; the compiler's log goes to standard output.
 */
public final class CompileMain {

    static final int COMPILED = 0;
    static final int REJECTED = 1;
    static final int NO_COMPILER = 2;

    private CompileMain() {}

    /** Exits with 0 when the file is written, 1 when the source does not compile, 2 when there is no compiler. */
    public static void main(String[] args) throws IOException {
        System.exit(run(List.of(args), System.out));
    }

    private static int run(List<String> args, PrintStream out) throws IOException {
        Rtc rtc = Rtc.of(args.get(0));
        DataInputStream in = new DataInputStream(System.in);
        String text = new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
        ChildJava.endWithParent(in, OutputStream.nullOutputStream(), () -> Runtime.getRuntime().halt(REJECTED));
        try {
            RtcLibrary.Result result = new RtcLibrary(rtc, rtc.library())
                    .compile(new KernelSource(args.get(1), text), args.subList(3, args.size()));
            out.println(result.log());
            if (!result.succeeded()) {
                return REJECTED;
            }
            Files.write(Path.of(args.get(2)), result.code());
            return COMPILED;
        } catch (UserError e) {
            out.println(e.getMessage());
            return NO_COMPILER;
        }
    }
}
