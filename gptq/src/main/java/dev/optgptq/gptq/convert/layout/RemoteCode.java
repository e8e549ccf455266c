package dev.optgptq.gptq.convert.layout;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Objects;

/** What transformers runs an opt_gqa model with (trust_remote_code). */
public final class RemoteCode {

    /** Their names, as auto_map has them. */
    public static final List<String> FILES = List.of("configuration_opt_gqa.py", "modeling_opt_gqa.py");

    private RemoteCode() {}

    public static byte[] bytes(String name) {
        try (InputStream file = RemoteCode.class.getResourceAsStream(name)) {
            return Objects.requireNonNull(file, name).readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
