package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.optgptq.kernels.Device;
import dev.optgptq.kernels.Devices;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;

class ContractMainTest {

    @Test
    void the_program_runs_the_cases_asked_for_in_every_placement() {
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        try (Device device = Devices.open("cpu", 1)) {
            assertEquals(0, ContractMain.run(device, List.of("symmetrize"),
                    new PrintStream(printed, true, StandardCharsets.UTF_8)));
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        assertTrue(text.matches("[1-9]\\d* cases in 3 placements on cpu, 0 failed\n"), text);
    }
}
