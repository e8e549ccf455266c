package dev.optgptq.cli.architecture;

import java.io.IOException;
import java.io.StringWriter;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.StandardLocation;
import javax.tools.ToolProvider;

/** Compiles code that breaks rules, against the real classes. */
final class Offenders {

    private static final Pattern PACKAGE = Pattern.compile("package ([\\w.]+);");
    private static final Pattern CLASS = Pattern.compile("class (\\w+)");

    private Offenders() {}

    /** Full name of the class in a unit. */
    static String name(String unit) {
        return group(PACKAGE, unit) + "." + group(CLASS, unit);
    }

    /** Compiles the units to class files under the directory. */
    static void compile(List<String> units, Path directory) throws IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter messages = new StringWriter();
        try (StandardJavaFileManager files = compiler.getStandardFileManager(null, null, null)) {
            files.setLocationFromPaths(StandardLocation.CLASS_OUTPUT, List.of(directory));
            List<String> options = List.of("-nowarn", "-proc:none", "--add-modules", "jdk.incubator.vector",
                    "-classpath",
                    System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")));
            if (!compiler.getTask(messages, files, null, options, null, units.stream().map(Offenders::source).toList())
                    .call()) {
                throw new AssertionError("offenders do not compile: " + messages);
            }
        }
    }

    private static JavaFileObject source(String code) {
        String name = name(code).replace('.', '/');
        return new SimpleJavaFileObject(URI.create("string:///" + name + ".java"), JavaFileObject.Kind.SOURCE) {
            @Override
            public String getCharContent(boolean ignoreEncodingErrors) {
                return code;
            }
        };
    }

    private static String group(Pattern pattern, String code) {
        Matcher matcher = pattern.matcher(code);
        if (!matcher.find()) {
            throw new AssertionError("no " + pattern + " in " + code);
        }
        return matcher.group(1);
    }
}
