package dev.optgptq.cli.launcher;

import dev.optgptq.cli.testing.Models;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Collectors;

/**
 * The launcher in a folder of its own, in the layout of a distribution, with the classes under test as its program and an
 * environment that holds nothing but what a test gives it.
 */
final class Installation {

    /** What the script needs of the system, and no Java. */
    private static final List<String> TOOLS = List.of("sh", "cat", "cut", "dirname", "find", "head", "ln", "mkdir",
            "mv", "readlink", "rm", "sed", "sleep", "stty", "tail", "uname");

    private final Path home;
    private final Path tools;
    private final Map<String, String> environment = new TreeMap<>();

    private Installation(Path home, Path tools) {
        this.home = home;
        this.tools = tools;
        environment.put("PATH", tools.toString());
        environment.put("HOME", home.toString());
        environment.put("OPT_GPTQ_JDK_DIRS", "");
    }

    /** What a run of the script ended with. */
    record Outcome(int exitCode, String out, String err) {}

    static Installation in(Path directory) throws IOException {
        Path home = Files.createDirectories(directory.resolve("opt-gptq home"));
        Files.copy(Models.root().resolve("opt-gptq"), home.resolve("opt-gptq"), StandardCopyOption.REPLACE_EXISTING);
        writeJar(home.resolve("lib/opt-gptq-cli.jar"));
        Path tools = Files.createDirectories(directory.resolve("tools"));
        for (String tool : TOOLS) {
            writeScript(tools.resolve(tool), "exec " + find(tool) + " \"$@\"");
        }
        return new Installation(home, tools);
    }

    /** The JDK that runs this test. */
    static Path jdk() {
        return Path.of(System.getProperty("java.home"));
    }

    /** Takes a variable out of the environment. */
    Installation without(String variable) {
        environment.remove(variable);
        return this;
    }

    Installation with(String variable, Object value) {
        environment.put(variable, value.toString());
        return this;
    }

    /** What tells OpenBLAS which CPU to take this one for: without it, it computes other bits than the tests' own process. */
    Installation withVariablesOfOpenBlas() {
        System.getenv().forEach((name, value) -> {
            if (name.startsWith("OPENBLAS_")) {
                environment.put(name, value);
            }
        });
        return this;
    }

    /** Adds a program to the path: a shell script. */
    void addTool(String name, String script) throws IOException {
        writeScript(tools.resolve(name), script);
    }

    Path home() {
        return home;
    }

    Path script() {
        return home.resolve("opt-gptq");
    }

    Path tools() {
        return tools;
    }

    /** A folder that claims to be a JDK of this version; its java says so and ends with 70. */
    static Path fakeJdk(Path directory, String version) throws IOException {
        return jdk(directory, version, "echo started >&2; exit 70");
    }

    /** A folder that claims to be a JDK; its java prints its arguments, one a line. */
    static Path printingJdk(Path directory) throws IOException {
        return jdk(directory, "25.0.3", "for argument in \"$@\"; do echo \"$argument\"; done");
    }

    /** A folder whose java is that of the JDK which runs this test. */
    static Path realJdk(Path directory) throws IOException {
        return jdk(directory, "25.0.3", "exec " + jdk().resolve("bin/java") + " \"$@\"");
    }

    private static Path jdk(Path directory, String version, String java) throws IOException {
        writeScript(Files.createDirectories(directory.resolve("bin")).resolve("java"), java);
        Files.writeString(directory.resolve("release"), "IMPLEMENTOR=\"Nobody\"\nJAVA_VERSION=\"" + version + "\"\n");
        return directory;
    }

    Outcome run(String... args) throws IOException, InterruptedException {
        return run(script(), args);
    }

    Outcome run(Path called, String... args) throws IOException, InterruptedException {
        Path out = Files.createTempFile("launcher", ".out");
        Path err = Files.createTempFile("launcher", ".err");
        try {
            int exitCode = start(called, out, err, args).waitFor();
            return new Outcome(exitCode, Files.readString(out), Files.readString(err));
        } finally {
            Files.delete(out);
            Files.delete(err);
        }
    }

    Process start(Path called, Path out, Path err, String... args) throws IOException {
        List<String> command = new ArrayList<>(List.of(called.toString()));
        command.addAll(Arrays.asList(args));
        ProcessBuilder builder = new ProcessBuilder(command).directory(home.toFile())
                .redirectOutput(out.toFile()).redirectError(err.toFile())
                .redirectInput(new File("/dev/null"));
        builder.environment().clear();
        builder.environment().putAll(environment);
        return builder.start();
    }

    static void writeScript(Path file, String script) throws IOException {
        Files.writeString(file, "#!/bin/sh\n" + script + "\n");
        if (!file.toFile().setExecutable(true)) {
            throw new IOException("cannot make " + file + " executable");
        }
    }

    /** A jar that holds nothing but the way to the classes under test. */
    private static void writeJar(Path jar) throws IOException {
        Files.createDirectories(jar.getParent());
        String path = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
        Manifest manifest = new Manifest();
        Attributes main = manifest.getMainAttributes();
        main.put(Attributes.Name.MANIFEST_VERSION, "1.0");
        main.put(Attributes.Name.MAIN_CLASS, "dev.optgptq.cli.Main");
        main.put(Attributes.Name.CLASS_PATH, Arrays.stream(path.split(File.pathSeparator))
                .map(entry -> Path.of(entry).toUri().toString()).collect(Collectors.joining(" ")));
        try (OutputStream stream = Files.newOutputStream(jar)) {
            new JarOutputStream(stream, manifest).close();
        }
    }

    private static Path find(String tool) {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .map(folder -> Path.of(folder).resolve(tool)).filter(Files::isExecutable).findFirst()
                .orElseThrow(() -> new IllegalStateException("no " + tool + " on this system"));
    }
}
