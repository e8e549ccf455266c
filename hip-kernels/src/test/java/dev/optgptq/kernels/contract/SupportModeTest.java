package dev.optgptq.kernels.contract;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class SupportModeTest {

    @Test
    void theTableShowsThatTheProcessorsDevicesHaveEveryOp() {
        String table = SupportMode.table();
        for (String line : table.lines().skip(1).filter(line -> !line.contains(":")).toList()) {
            assertTrue(line.endsWith("yes         yes"), line);
        }
        assertFalse(table.contains("WRONG"), table);
    }
}
