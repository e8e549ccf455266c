package dev.optgptq.kernels.gpu.driver;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * What Linux's amdkfd driver says about the cards, for runtimes that do not name an architecture.
 *
 * @param nodes the folder of nodes, each with a file "properties"
 */
record KfdTopology(Path nodes) {

    static KfdTopology ofSystem() {
        return new KfdTopology(Path.of("/sys/class/kfd/kfd/topology/nodes"));
    }

    /** Such as gfx906, of the ordinal-th node with compute units; "" when it is not known. */
    String architecture(int ordinal) {
        List<Integer> versions = new ArrayList<>();
        try (Stream<Path> folders = Files.list(nodes)) {
            List<Path> sorted = folders.filter(folder -> String.valueOf(folder.getFileName()).matches("\\d+"))
                    .sorted(Comparator.comparing(folder -> Integer.valueOf(String.valueOf(folder.getFileName()))))
                    .toList();
            for (Path folder : sorted) {
                int version = number(Files.readAllLines(folder.resolve("properties")), "gfx_target_version");
                if (version > 0) {
                    versions.add(version);
                }
            }
        } catch (IOException e) {
            return ""; // no such driver, or not ours to read
        }
        return ordinal < versions.size() ? name(versions.get(ordinal)) : "";
    }

    private static int number(List<String> lines, String key) {
        return lines.stream().filter(line -> line.startsWith(key + " "))
                .mapToInt(line -> Integer.parseInt(line.substring(key.length()).strip())).findFirst().orElse(0);
    }

    /** 90010 is gfx90a: major, two digits of minor, two of stepping, the last in hexadecimal. */
    private static String name(int version) {
        return String.format(Locale.ROOT, "gfx%d%x%x", version / 10000, version / 100 % 100, version % 100);
    }
}
