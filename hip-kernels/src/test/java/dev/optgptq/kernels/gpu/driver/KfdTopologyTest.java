package dev.optgptq.kernels.gpu.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KfdTopologyTest {

    @Test
    void architectures_are_those_of_the_nodes_with_compute_units_in_their_order(@TempDir Path nodes)
            throws IOException {
        node(nodes, 0, 0);
        node(nodes, 2, 90010);
        node(nodes, 10, 90306);
        node(nodes, 3, 90006);
        KfdTopology topology = new KfdTopology(nodes);
        assertEquals("gfx90a", topology.architecture(0));
        assertEquals("gfx906", topology.architecture(1));
        assertEquals("gfx936", topology.architecture(2));
    }

    @Test
    void what_the_kernel_does_not_say_is_not_known(@TempDir Path nodes) {
        assertEquals("", new KfdTopology(nodes).architecture(0));
        assertEquals("", new KfdTopology(nodes.resolve("absent")).architecture(0));
    }

    private static void node(Path nodes, int number, int version) throws IOException {
        Path folder = Files.createDirectory(nodes.resolve(Integer.toString(number)));
        Files.writeString(folder.resolve("properties"), "cpu_cores_count 0\ngfx_target_version " + version + "\n");
    }
}
