package dev.optgptq.formats.tokenizer;

import dev.optgptq.formats.UserError;
import dev.optgptq.formats.UserError.Code;
import dev.optgptq.formats.natives.ChildJava;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * The process that tokenizes: the native library may crash, hang or use up all memory on a file, and then only this
 * process is lost. Argument: the model directory. Reports whether it has loaded, and whether texts can be split; then
 * answers requests from standard input until it ends.
 */
public final class TokenizerMain {

    private static final int PIPE_BYTES = 1 << 16;

    private TokenizerMain() {}

    public static void main(String[] args) throws IOException {
        DataOutputStream answers = new DataOutputStream(
                new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), PIPE_BYTES));
        // The library's log must not get between the answers.
        System.setOut(System.err);
        DataInputStream requests = new DataInputStream(ChildJava.requests(() -> Runtime.getRuntime().halt(0)));
        try (DjlTokenizer tokenizer = DjlTokenizer.open(Path.of(args[0]))) {
            answers.writeByte(Frames.DONE);
            answers.writeBoolean(tokenizer.isCuttable());
            answers.flush();
            for (int operation = requests.read(); operation >= 0; operation = requests.read()) {
                answer(operation, requests, answers, tokenizer);
                answers.flush();
            }
        } catch (UserError e) {
            Frames.writeFailure(answers, e);
            answers.flush();
        } catch (OutOfMemoryError e) {
            Frames.writeFailure(answers, new UserError(Code.MEMORY, TokenizerFile.in(Path.of(args[0]))
                    + ": the tokenizer does not fit the heap; use a larger one (-Xmx)", e));
            answers.flush();
        }
        System.exit(0);
    }

    private static void answer(int operation, DataInputStream requests, DataOutputStream answers,
            DjlTokenizer tokenizer) throws IOException {
        try {
            if (operation == Frames.ENCODE) {
                List<int[]> ids = tokenizer.encodeAll(Frames.readTexts(requests));
                answers.writeByte(Frames.DONE);
                for (int[] of : ids) {
                    Frames.writeIds(answers, of);
                }
            } else if (operation == Frames.ENCODE_PROMPT) {
                int[] ids = tokenizer.encodePrompt(Frames.readText(requests));
                answers.writeByte(Frames.DONE);
                Frames.writeIds(answers, ids);
            } else {
                int[] ids = Frames.readIds(requests);
                String text = operation == Frames.DECODE_TEXT ? tokenizer.decodeText(ids) : tokenizer.decode(ids);
                answers.writeByte(Frames.DONE);
                Frames.writeText(answers, text);
            }
        } catch (UserError e) {
            Frames.writeFailure(answers, e);
        } catch (OutOfMemoryError e) {
            Frames.writeFailure(answers, new UserError(Code.MEMORY, tokenizer
                    + ": its tokens do not fit the heap; use a shorter text, or a larger heap (-Xmx)", e));
        }
    }
}
