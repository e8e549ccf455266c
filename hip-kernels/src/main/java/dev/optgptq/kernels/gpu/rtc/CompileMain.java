package dev.optgptq.kernels.gpu.rtc;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.natives.ChildJava;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The process that compiles kernel sources, one after another until standard input ends. Argument: hip or cuda. What it
 * prints for a source is the compiler's log, and a last line of {@link #ANSWER} and how it went.
 */
public final class CompileMain {

    /** Begins the line that ends an answer: a compiler may print lines of its own. */
    static final String ANSWER = "\u0001compiled ";

    static final int COMPILED = 0;
    static final int REJECTED = 1;
    static final int NO_COMPILER = 2;

    private CompileMain() {}

    public static void main(String[] args) throws IOException {
        Rtc rtc = Rtc.of(args[0]);
        DataInputStream requests = new DataInputStream(ChildJava.requests(() -> Runtime.getRuntime().halt(0)));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        while (true) {
            int status = compile(rtc, Request.read(requests), out);
            out.println("\n" + ANSWER + status);
        }
    }

    private static int compile(Rtc rtc, Request request, PrintStream out) throws IOException {
        try {
            RtcLibrary.Result result = new RtcLibrary(rtc, rtc.load()).compile(request.source(), request.options());
            out.print(result.log());
            if (!result.succeeded()) {
                return REJECTED;
            }
            Files.write(request.code(), result.code());
            return COMPILED;
        } catch (UserError e) {
            out.print(e.getMessage());
            return NO_COMPILER;
        }
    }

    /**
     * A source to compile.
     *
     * @param code the file to write
     */
    record Request(KernelSource source, List<String> options, Path code) {

        void write(DataOutputStream out) throws IOException {
            writeText(out, source.name());
            writeText(out, source.text());
            writeText(out, code.toString());
            out.writeInt(options.size());
            for (String option : options) {
                writeText(out, option);
            }
            out.flush();
        }

        static Request read(DataInputStream in) throws IOException {
            KernelSource source = new KernelSource(readText(in), readText(in));
            Path code = Path.of(readText(in));
            List<String> options = new ArrayList<>();
            for (int left = in.readInt(); left > 0; left--) {
                options.add(readText(in));
            }
            return new Request(source, options, code);
        }

        private static void writeText(DataOutputStream out, String text) throws IOException {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            out.writeInt(bytes.length);
            out.write(bytes);
        }

        private static String readText(DataInputStream in) throws IOException {
            return new String(in.readNBytes(in.readInt()), StandardCharsets.UTF_8);
        }
    }
}
